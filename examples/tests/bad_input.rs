//! Bad input gets one clear error that names it and the remedy, and loses nothing.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use support::{data, example, said};

/// Runs lenet_mnist and expects one line of error that contains each of `words`.
fn refused(flags: &[&str], words: &[&str]) {
    let output = example("lenet_mnist").args(flags).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{flags:?} succeeded: {text}");
    assert!(text.starts_with("error: "), "{flags:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{flags:?} does not say {word:?}: {text}");
    }
    assert!(!text.contains("panicked"), "{flags:?}: {text}");
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// A small, finished run to lose.
fn finished(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let out = folder.to_str().unwrap();
    let output = example("lenet_mnist")
        .args(["--train-size", "128", "--epochs", "1", "--quiet", "--out", out])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    files(folder)
}

#[test]
fn settings_that_cannot_work_are_named_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = finished(folder.path());
    let out = folder.path().to_str().unwrap();
    let cases: [(&[&str], &str); 26] = [
        (&["--workers", "0"], "number of workers is 0"),
        (&["--workers", "1001"], "1 to 1000"),
        (&["--memory-mb", "127"], "128 to 10240 MB"),
        (&["--memory-mb", "10241"], "128 to 10240 MB"),
        (&["--batch-size", "0"], "batch size"),
        (&["--batch-size", "129"], "larger than the training data (128 examples)"),
        (&["--epochs", "0"], "number of epochs is 0"),
        (&["--lr", "-0.1"], "learning rate is -0.1"),
        (&["--lr", "NaN"], "learning rate is NaN"),
        (&["--lr", "inf"], "learning rate is inf"),
        (&["--optimizer", "momentum", "--momentum", "1"], "momentum is 1"),
        (&["--optimizer", "momentum", "--momentum", "NaN"], "momentum is NaN"),
        (&["--optimizer", "nesterov", "--momentum", "1"], "momentum is 1"),
        (&["--noise", "rule=0"], "give at least 1"),
        (&["--noise", "rule", "--sync-mode", "bulk"], "noise rule"),
        (&["--budget", "-1"], "budget is -1"),
        (&["--budget", "NaN"], "budget is NaN"),
        (&["--budget", "0.0000001"], "needs about $"),
        (&["--local-steps", "0"], "local steps are 0"),
        (&["--target-loss", "NaN"], "target loss is NaN"),
        (&["--threads", "0"], "threads is 0"),
        (&["--scheduler", "plan"], "give fixed, schedule, planner or agent:FILE"),
        (&["--scheduler", "schedule"], "give --schedule FIRST,BETWEEN,LAST"),
        (&["--scheduler", "agent:none", "--budget", "1"], "cannot read the agent in none"),
        (&["--schedule", "12,4"], "first, between, last"),
        (&["--schedule", "4,0,1"], "number of workers is 0"),
    ];
    for (flags, word) in cases {
        let flags = [&["--train-size", "128", "--out", out], flags].concat();
        refused(&flags, &[word]);
    }
    refused(&["--train-size", "0", "--out", out], &["training size is 0"]);
    // A run that is over before it starts says so, and loses nothing either.
    for flags in [["--target-loss", "100"], ["--time-limit", "0s"]] {
        let flags = [&["--train-size", "128", "--out", out], &flags[..]].concat();
        assert!(example("lenet_mnist").args(flags).output().unwrap().status.success());
    }
    assert_eq!(files(folder.path()), before, "files of an earlier run were changed");
}

#[test]
fn a_rate_that_diverges_ends_the_run_and_spares_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let flags = ["--train-size", "512", "--lr", "1e30", "--out", out];
    let output = example("lenet_mnist").args(flags).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("diverged") && text.contains("smaller --learning-rate"), "{text}");
    assert!(siren_hsp::Checkpoint::load(folder.path()).unwrap().epochs().is_empty());
}

const IMAGES: &str = "train-images-idx3-ubyte.gz";
const LABELS: &str = "train-labels-idx1-ubyte.gz";

/// The bundled files, one of them replaced.
fn with(name: &str, bytes: Option<&[u8]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join(name);
    match bytes {
        Some(bytes) => std::fs::write(path, bytes).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
    folder
}

fn unpacked(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(data().join(name)).unwrap();
    GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

#[test]
fn damaged_data_is_named() {
    let whole = std::fs::read(data().join(LABELS)).unwrap();
    let labels = unpacked(LABELS);
    let mut magic = labels.clone();
    magic[2] = 9;
    let mut fewer = labels[..labels.len() - 1].to_vec();
    fewer[4..8].copy_from_slice(&59_999_u32.to_be_bytes());
    let mut eleven = labels.clone();
    eleven[8 + 77] = 11;
    let cases: [(&[u8], &[&str]); 8] = [
        (&packed(&eleven), &["label 77", "not a digit"]),
        (&whole[..whole.len() / 2], &["truncated or damaged"]),
        (&packed(&labels[..1_000]), &["truncated", "60000 bytes"]),
        (&packed(&[&labels[..], &[0]].concat()), &["too long"]),
        (&packed(&magic), &["begins with", "00, 00, 08, 01"]),
        (&packed(&fewer), &["60000 images", "59999 labels", IMAGES]),
        (b"", &["cannot read"]),
        (&packed(b""), &["truncated", "magic number"]),
    ];
    for (bytes, words) in cases {
        let folder = with(LABELS, Some(bytes));
        let words = [words, &[LABELS]].concat();
        refused(&["--data", folder.path().to_str().unwrap()], &words);
    }
    let missing = with(IMAGES, None);
    refused(&["--data", missing.path().to_str().unwrap()], &[IMAGES, "--data"]);
    refused(&["--data", "no/such/folder"], &["no/such/folder", "--data"]);
    // Labels in place of images: the dimensions give it away.
    let swapped = with(IMAGES, Some(&whole));
    refused(&["--data", swapped.path().to_str().unwrap()], &[IMAGES, "3 dimensions"]);
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let below = file.join("out");
    refused(
        &["--train-size", "128", "--out", below.to_str().unwrap()],
        &["cannot make the folder"],
    );
    let empty = folder.path().to_str().unwrap();
    refused(&["--resume", empty], &["checkpoint", "folder of a run"]);

    let run = tempfile::tempdir().unwrap();
    finished(run.path());
    let resume = run.path().to_str().unwrap();
    let path = run.path().join("checkpoint");
    let good = std::fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    refused(&["--resume", resume], &["checkpoint", "checksum"]);
    assert_eq!(std::fs::read(&path).unwrap(), bad, "the file is as it was");
    std::fs::write(&path, &good).unwrap();
    refused(&["--resume", resume, "--optimizer", "momentum"], &["optimizer"]);
    refused(&["--resume", resume, "--optimizer", "adagrad"], &["optimizer"]);
}
