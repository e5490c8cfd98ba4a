//! The reader of IDX files, and its errors for bad input.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use siren_core::{DataSource, ErrorKind};
use siren_data::idx;
use tempfile::TempDir;

/// Three images of one row and two columns.
const IMAGES: [u8; 22] = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 10, 11, 20, 21, 30, 31];
const LABELS: [u8; 11] = [0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3];

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: siren_core::Result<T>, path: &Path, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    for word in [&path.display().to_string(), words] {
        assert!(error.message().contains(word), "no {word:?} in: {error}");
    }
}

#[test]
fn an_example_is_its_label_and_its_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&IMAGES).unwrap();
    let packed = file(&folder, "images.gz", &packer.finish().unwrap());
    let plain = file(&folder, "images", &IMAGES);
    let labels = file(&folder, "labels", &LABELS);
    for images in [plain, packed] {
        assert_eq!(idx::read(&images, 3).unwrap().shape, [3, 1, 2]);
        let source = idx::read_labelled(&images, &labels).unwrap();
        assert_eq!((source.len(), source.record_len()), (3, 3));
        let examples: Vec<_> = source.records().collect();
        assert_eq!(examples, [[1, 10, 11], [2, 20, 21], [3, 30, 31]]);
    }
}

#[test]
fn a_file_of_another_length_or_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for length in 0..IMAGES.len() {
        let path = file(&folder, "short", &IMAGES[..length]);
        refused(idx::read(&path, 3), &path, "truncated");
    }
    let path = file(&folder, "long", &[&IMAGES[..], &[0]].concat());
    refused(idx::read(&path, 3), &path, "too long");
    let path = file(&folder, "labels", &LABELS);
    refused(idx::read(&path, 3), &path, "is it the right file?");
    let path = file(&folder, "huge", &[&[0, 0, 8, 3][..], &[255; 12]].concat());
    refused(idx::read(&path, 3), &path, "claims to have");
    let missing = idx::read(folder.path().join("none"), 3).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Other);
    assert!(missing.message().contains("none"), "{missing}");
}

#[test]
fn images_and_labels_of_different_sets_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let images = file(&folder, "images", &IMAGES);
    let labels = file(&folder, "labels", &[0, 0, 8, 1, 0, 0, 0, 2, 1, 2]);
    let both = idx::read_labelled(&images, &labels);
    refused(both, &images, "has 3 images but");
    let none = file(&folder, "none", &[&[0, 0, 8, 3][..], &[0; 12]].concat());
    let labels = file(&folder, "no-labels", &[0, 0, 8, 1, 0, 0, 0, 0]);
    refused(idx::read_labelled(&none, &labels), &none, "holds no images");
}
