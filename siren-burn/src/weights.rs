//! Parameters in a safetensors file.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use siren_core::{Error, ErrorKind, Layout, Result, file};

/// The metadata entry that holds the layout's hash.
const LAYOUT: &str = "siren.layout";

/// Writes parameters to a safetensors file: an `f32` tensor for each one of the layout, under its
/// name, and the layout's hash as the metadata entry `siren.layout`. The file is replaced as a
/// whole: after a crash it is the old file or the new one.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] when `params` does not fit the layout, [`ErrorKind::Diverged`]
/// when an entry is not finite, and [`ErrorKind::Other`] when the file cannot be written.
pub fn save(layout: &Layout, params: &[f32], path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    if params.len() != layout.dim() {
        return Err(Error::rejected(format!(
            "the layout has {} parameters, not {}: save a model under its own layout",
            layout.dim(),
            params.len()
        )));
    }
    check_finite(layout, params)?;
    let bytes: Vec<u8> = params.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut views = Vec::with_capacity(layout.tensors().len());
    let mut start = 0;
    for tensor in layout.tensors() {
        let end = start + 4 * tensor.elements();
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), &bytes[start..end]).map_err(
            |error| Error::rejected("the layout does not fit a file").with_source(error),
        )?;
        views.push((tensor.name.as_str(), view));
        start = end;
    }
    let metadata = HashMap::from([(LAYOUT.to_owned(), format!("{:016x}", layout.hash()))]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::rejected("the layout does not fit a file").with_source(error))?;
    file::replace(path, |to| to.write_all(&bytes))
}

/// Reads parameters from a safetensors file, in the order of the layout.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] when the file cannot be read, [`ErrorKind::Corrupt`] when it is not
/// a safetensors file, and [`ErrorKind::Diverged`] when an entry is not finite. Returns
/// [`ErrorKind::Rejected`] when the names, shapes or types of its tensors differ from the layout's,
/// or when its `siren.layout` does.
pub fn load(layout: &Layout, path: impl AsRef<Path>) -> Result<Vec<f32>> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|error| {
        let message = format!("cannot read the weights from {}", path.display());
        Error::new(ErrorKind::Other, message).with_source(error)
    })?;
    let corrupt = |error| {
        let message = format!("{} is not a sound safetensors file", path.display());
        Error::new(ErrorKind::Corrupt, message).with_source(error)
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(corrupt)?;
    let file = SafeTensors::deserialize(&bytes).map_err(corrupt)?;

    let foreign = |why: String| {
        Error::rejected(format!(
            "{} holds another model: {why}; load it with the module that it was saved from",
            path.display()
        ))
    };
    let mut params = Vec::with_capacity(layout.dim());
    for tensor in layout.tensors() {
        let name = &tensor.name;
        let view = file.tensor(name).map_err(|_| foreign(format!("it has no tensor {name}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != tensor.shape {
            return Err(foreign(format!(
                "its {name} is {:?} {:?}, not F32 {:?}",
                view.dtype(),
                view.shape(),
                tensor.shape
            )));
        }
        let values = view.data().as_chunks::<4>().0;
        params.extend(values.iter().map(|&value| f32::from_le_bytes(value)));
    }
    if file.len() != layout.tensors().len() {
        let known = |name: &&str| layout.tensors().iter().any(|tensor| tensor.name == **name);
        let extra = file.names().into_iter().find(|name| !known(name));
        return Err(foreign(format!("it has a tensor {} too many", extra.unwrap_or_default())));
    }
    // A file from another tool has no hash; its names, shapes and types fit already.
    let hash = header.metadata().as_ref().and_then(|m| m.get(LAYOUT));
    if hash.is_some_and(|hash| *hash != format!("{:016x}", layout.hash())) {
        return Err(foreign("its tensors are in another order".to_owned()));
    }
    check_finite(layout, &params)?;
    Ok(params)
}

fn check_finite(layout: &Layout, params: &[f32]) -> Result<()> {
    let Some(mut entry) = params.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    let mut name = "";
    for tensor in layout.tensors() {
        name = &tensor.name;
        if entry < tensor.elements() {
            break;
        }
        entry -= tensor.elements();
    }
    Err(Error::new(ErrorKind::Diverged, format!("entry {entry} of {name} is not finite")))
}
