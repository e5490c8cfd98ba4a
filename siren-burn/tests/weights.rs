//! Saving and loading parameters.

use std::fs;

use siren_burn::{load, save};
use siren_core::{ErrorKind, Layout, TensorSpec};

fn layout(tensors: &[(&str, &[usize])]) -> Layout {
    let specs = tensors.iter().map(|&(name, shape)| TensorSpec::new(name, shape)).collect();
    Layout::new(specs).unwrap()
}

fn ours() -> Layout {
    layout(&[("b.weight", &[2, 3]), ("b.bias", &[3]), ("a.weight", &[1])])
}

const VALUES: [f32; 10] =
    [0.0, -0.0, 1.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::MIN, 0.1, -3.5, 7.0];

#[test]
fn parameters_come_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save(&ours(), &[1.0; 10], &path).unwrap();
    save(&ours(), &VALUES, &path).unwrap();
    let loaded = load(&ours(), &path).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&loaded), bits(&VALUES));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
}

#[test]
fn the_file_is_plain_safetensors_with_the_layouts_hash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save(&ours(), &VALUES, &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bias = file.tensor("b.bias").unwrap();
    assert_eq!(bias.shape(), [3]);
    assert_eq!(bias.data()[4..8], VALUES[7].to_le_bytes());
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["siren.layout"], format!("{:016x}", ours().hash()));
}

#[test]
fn another_model_is_refused_on_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    save(&ours(), &VALUES, &path).unwrap();
    for (other, why) in [
        (layout(&[("b.weight", &[2, 3])]), "too many"),
        (
            layout(&[("b.weight", &[3, 2]), ("b.bias", &[3]), ("a.weight", &[1])]),
            "its b.weight is F32 [2, 3], not F32 [3, 2]",
        ),
        (layout(&[("b.weight", &[2, 3]), ("c", &[3]), ("a.weight", &[1])]), "no tensor c"),
        (layout(&[("a.weight", &[1]), ("b.weight", &[2, 3]), ("b.bias", &[3])]), "another order"),
    ] {
        let error = load(&other, &path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains(why), "{error}");
    }
}

#[test]
fn a_damaged_or_missing_file_is_an_error_of_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    assert_eq!(load(&ours(), &path).unwrap_err().kind(), ErrorKind::Other);
    save(&ours(), &VALUES, &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(load(&ours(), &path).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn entries_that_are_not_finite_are_neither_saved_nor_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut diverged = VALUES;
    diverged[7] = f32::NAN;
    let error = save(&ours(), &diverged, &path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged);
    assert_eq!(error.message(), "entry 1 of b.bias is not finite");
    assert!(!path.exists());

    save(&ours(), &VALUES, &path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert_eq!(load(&ours(), &path).unwrap_err().kind(), ErrorKind::Diverged);
}

#[test]
fn a_vector_of_another_length_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let error = save(&ours(), &VALUES[1..], folder.path().join("weights")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
}
