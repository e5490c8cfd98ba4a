//! The state of a deployment, as readable text.

use std::fmt;
use std::time::Duration;

use super::plan::short;
use super::{Architecture, Names};

/// The existing parts of a deployment. Displays as readable text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The names of all parts, including those that do not exist.
    pub names: Names,
    /// The bucket.
    pub bucket: Option<BucketStatus>,
    /// The role's name, and `true` if it carries the deployment's tags.
    pub role: Option<(String, bool)>,
    /// The log group.
    pub logs: Option<LogStatus>,
    /// The function.
    pub function: Option<FunctionStatus>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketStatus {
    /// Its name.
    pub name: String,
    /// `true` if it carries the deployment's tags. If not, its contents were not measured.
    pub ours: bool,
    /// The number of objects in it, counting all versions.
    pub objects: u64,
    /// The total size of its objects, in bytes.
    pub bytes: u64,
}

/// A log group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Its name.
    pub name: String,
    /// `true` if it carries the deployment's tags.
    pub ours: bool,
    /// The stored size, in bytes.
    pub bytes: u64,
    /// The number of days for which lines are kept. `None` means forever.
    pub retention_days: Option<u32>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionStatus {
    /// Its name.
    pub name: String,
    /// `true` if it carries the deployment's tags.
    pub ours: bool,
    /// Its processor architecture, if it is a supported one.
    pub architecture: Option<Architecture>,
    /// The SHA-256 of its code in base 64.
    pub code_sha256: String,
    /// Its memory, in MB. Versions may have other sizes.
    pub memory_mb: u32,
    /// Its timeout. Versions may have other timeouts.
    pub timeout: Duration,
    /// Its published versions.
    pub versions: Vec<FunctionVersion>,
    /// The aliases of its versions.
    pub aliases: Vec<FunctionAlias>,
}

/// A published version of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionVersion {
    /// Its number.
    pub number: String,
    /// Its memory, in MB.
    pub memory_mb: u32,
    /// Its timeout.
    pub timeout: Duration,
    /// `true` if its code is the function's latest.
    pub current: bool,
}

/// An alias of a version of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionAlias {
    /// The name of the alias.
    pub name: String,
    /// The version's number.
    pub version: String,
}

impl Status {
    /// `true` if no part of the deployment exists.
    pub fn is_nothing(&self) -> bool {
        let Self { bucket, role, logs, function, .. } = self;
        bucket.is_none() && role.is_none() && logs.is_none() && function.is_none()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, bucket, role, logs, function } = self;
        if self.is_nothing() {
            return write!(f, "{}: nothing exists", names.deployment);
        }
        write!(f, "{}:", names.deployment)?;
        write!(f, "\n  bucket    {}", if bucket.is_some() { "" } else { "none" })?;
        if let Some(BucketStatus { name, ours, objects, bytes }) = bucket {
            write!(f, "{name}")?;
            if *ours {
                write!(f, ", {objects} objects, {}", size(*bytes))?;
            }
            f.write_str(whose(*ours))?;
        }
        match role {
            Some((name, ours)) => write!(f, "\n  role      {name}{}", whose(*ours))?,
            None => write!(f, "\n  role      none")?,
        }
        match logs {
            Some(LogStatus { name, ours, bytes, retention_days }) => {
                write!(f, "\n  log       {name}, {}, ", size(*bytes))?;
                match retention_days {
                    Some(days) => write!(f, "kept for {days} days")?,
                    None => write!(f, "kept for ever")?,
                }
                f.write_str(whose(*ours))?;
            }
            None => write!(f, "\n  log       none")?,
        }
        match function {
            Some(function) => write!(f, "\n  function  {function}"),
            None => write!(f, "\n  function  none"),
        }
    }
}

impl fmt::Display for FunctionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, ours, code_sha256, memory_mb, timeout, versions, aliases, .. } = self;
        write!(f, "{name}, ")?;
        match self.architecture {
            Some(architecture) => write!(f, "{architecture}")?,
            None => write!(f, "unknown architecture")?,
        }
        write!(f, ", code {}, {memory_mb} MB, {} s", short(code_sha256), timeout.as_secs())?;
        f.write_str(whose(*ours))?;
        for FunctionVersion { number, memory_mb, timeout, current } in versions {
            write!(f, "\n    version {number}: {memory_mb} MB, {} s", timeout.as_secs())?;
            for alias in aliases.iter().filter(|alias| alias.version == *number) {
                write!(f, ", {}", alias.name)?;
            }
            f.write_str(if *current { "" } else { ", earlier code" })?;
        }
        Ok(())
    }
}

fn whose(ours: bool) -> &'static str {
    if ours { "" } else { " (without this deployment's tags: left alone)" }
}

fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        ..1e6 => format!("{:.1} kB", bytes / 1e3),
        ..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::names;
    use super::*;

    #[test]
    fn a_status_names_what_is_there_and_what_is_not() {
        let nothing =
            Status { names: names(), bucket: None, role: None, logs: None, function: None };
        assert_eq!(nothing.to_string(), "siren: nothing exists");
        let version = |number: &str, current| FunctionVersion {
            number: number.into(),
            memory_mb: 512,
            timeout: Duration::from_secs(120),
            current,
        };
        let function = FunctionStatus {
            name: "siren".into(),
            ours: true,
            architecture: Some(Architecture::Arm64),
            code_sha256: "0123456789".into(),
            memory_mb: 1_792,
            timeout: Duration::from_secs(900),
            versions: vec![version("1", false), version("2", true)],
            aliases: vec![FunctionAlias { name: "m512-t120".into(), version: "2".into() }],
        };
        let bucket = BucketStatus { name: "mine".into(), ours: true, objects: 3, bytes: 2_500_000 };
        let some = Status {
            bucket: Some(bucket),
            function: Some(function),
            role: Some(("siren-x".into(), false)),
            ..nothing
        };
        assert_eq!(
            some.to_string(),
            "siren:\n  bucket    mine, 3 objects, 2.5 MB\n  role      siren-x (without this \
             deployment's tags: left alone)\n  log       none\n  function  siren, arm64, code 01234567, \
             1792 MB, 900 s\n    version 1: 512 MB, 120 s, earlier code\n    version 2: 512 MB, 120 s, \
             m512-t120"
        );
    }
}
