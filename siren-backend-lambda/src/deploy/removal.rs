//! The result of removing a deployment.

use std::fmt;

/// A part of a deployment, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The function, with its versions and aliases.
    Function(String),
    /// The log group, with its lines.
    LogGroup(String),
    /// The bucket, with its objects.
    Bucket(String),
    /// The role, with its policy.
    Role(String),
}

/// The resources that were removed and those that were kept. Displays as readable text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Removed resources.
    pub removed: Vec<Resource>,
    /// Resources that exist but do not carry this deployment's tags. They were kept.
    pub foreign: Vec<Resource>,
    /// Resources that were kept on request.
    pub kept: Vec<Resource>,
    /// The number of objects removed with the bucket.
    pub objects: u64,
}

impl Removal {
    pub(super) fn note(&mut self, what: Resource, ours: bool) {
        if ours { self.removed.push(what) } else { self.foreign.push(what) }
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { removed, foreign, kept, objects } = self;
        if removed.is_empty() && foreign.is_empty() && kept.is_empty() {
            return write!(f, "there was nothing to remove");
        }
        let mut line = "";
        for what in removed {
            write!(f, "{line}removed {what}")?;
            if let Resource::Bucket(_) = what {
                write!(f, " with {objects} objects")?;
            }
            line = "\n";
        }
        for what in kept {
            write!(f, "{line}kept {what}: name it when you set up or remove the rest")?;
            line = "\n";
        }
        for what in foreign {
            write!(f, "{line}left {what} alone: it does not carry this deployment's tags")?;
            line = "\n";
        }
        Ok(())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(name) => write!(f, "the function {name}"),
            Self::LogGroup(name) => write!(f, "the log group {name}"),
            Self::Bucket(name) => write!(f, "the bucket {name}"),
            Self::Role(name) => write!(f, "the role {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_says_what_is_gone_and_what_is_not() {
        let mut removal = Removal::default();
        assert_eq!(removal.to_string(), "there was nothing to remove");
        removal.note(Resource::Bucket("b".into()), true);
        removal.note(Resource::Role("r".into()), false);
        removal.objects = 2;
        assert_eq!(
            removal.to_string(),
            "removed the bucket b with 2 objects\nleft the role r alone: it does not carry this \
             deployment's tags"
        );
    }
}
