//! The meaning of the entries of a flat parameter vector.

use xxhash_rust::xxh3::Xxh3;

use crate::{Error, Result};

/// One named tensor of a model: a run of consecutive entries of the flat parameter vector.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TensorSpec {
    /// A name that is unique in the layout, such as `conv1.weight`.
    pub name: String,
    /// The dimensions, outermost first; entries are stored in row-major order.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor with a name and a shape.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into() }
    }

    /// The number of entries: the product of the shape.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The order and the shapes of a model's tensors in one flat parameter vector. Checkpoints and
/// plans store its [hash](Layout::hash), so that parameters are never used with another model.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
}

impl Layout {
    /// A layout of these tensors in this order.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when two tensors have the same
    /// name, or when the layout has no entries.
    pub fn new(tensors: Vec<TensorSpec>) -> Result<Self> {
        let mut names = std::collections::HashSet::new();
        for tensor in &tensors {
            if !names.insert(tensor.name.as_str()) {
                return Err(Error::rejected(format!(
                    "the layout has two tensors called {:?}: give each its own name",
                    tensor.name
                )));
            }
        }
        let layout = Self { tensors };
        if layout.dim() == 0 {
            return Err(Error::rejected(
                "the layout has no parameters: give at least one tensor with at least one entry",
            ));
        }
        Ok(layout)
    }

    /// A layout of one vector.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when `elements` is 0.
    pub fn flat(name: impl Into<String>, elements: usize) -> Result<Self> {
        Self::new(vec![TensorSpec::new(name, [elements])])
    }

    /// The tensors, in the order in which they are laid out.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// The number of parameters: all entries of all tensors.
    pub fn dim(&self) -> usize {
        self.tensors.iter().map(TensorSpec::elements).sum()
    }

    /// A hash of names, shapes and order (XXH3, 64 bits). Stable across machines and versions.
    pub fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for tensor in &self.tensors {
            hasher.update(&(tensor.name.len() as u64).to_le_bytes());
            hasher.update(tensor.name.as_bytes());
            hasher.update(&(tensor.shape.len() as u64).to_le_bytes());
            for &extent in &tensor.shape {
                hasher.update(&(extent as u64).to_le_bytes());
            }
        }
        hasher.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(tensors: &[(&str, &[usize])]) -> Layout {
        let specs = tensors.iter().map(|&(name, shape)| TensorSpec::new(name, shape)).collect();
        Layout::new(specs).unwrap()
    }

    #[test]
    fn the_hash_sees_names_shapes_and_order() {
        let base = layout(&[("a", &[2, 3]), ("b", &[3])]);
        assert_eq!(base.dim(), 9);
        assert_eq!(base.hash(), layout(&[("a", &[2, 3]), ("b", &[3])]).hash());
        for other in [
            layout(&[("a", &[3, 2]), ("b", &[3])]),
            layout(&[("a", &[6]), ("b", &[3])]),
            layout(&[("b", &[3]), ("a", &[2, 3])]),
            layout(&[("ab", &[2, 3]), ("", &[3])]),
        ] {
            assert_ne!(base.hash(), other.hash(), "{other:?}");
        }
    }

    #[test]
    fn empty_and_ambiguous_layouts_are_refused() {
        assert!(Layout::new(vec![]).is_err());
        assert!(Layout::new(vec![TensorSpec::new("a", [0])]).is_err());
        let twice = vec![TensorSpec::new("a", [1]), TensorSpec::new("a", [1])];
        assert!(Layout::new(twice).unwrap_err().message().contains("\"a\""));
    }
}
