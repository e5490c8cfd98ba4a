//! The example for sentences learns, and says what is wrong with its input.

mod support;

use std::path::Path;

use siren_hsp::RunRecord;
use support::{example, said};

fn run(flags: &[&str], out: &Path) -> String {
    let output = example("sentence_cnn").args(flags).arg("--out").arg(out).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{flags:?}: {text}");
    text
}

fn refused(flags: &[&str], words: &[&str]) {
    let output = example("sentence_cnn").args(flags).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success(), "{flags:?} succeeded: {text}");
    assert!(text.starts_with("error: "), "{flags:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{flags:?} does not say {word:?}: {text}");
    }
}

fn record(folder: &Path) -> RunRecord {
    let text = std::fs::read(folder.join("run.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn a_few_passes_tell_positive_sentences_from_negative_ones() {
    let folder = tempfile::tempdir().unwrap();
    run(&["--workers", "2", "--epochs", "3", "--quiet"], folder.path());
    let accuracy = record(folder.path()).outcome.evaluation.accuracy().unwrap();
    assert!(accuracy > 0.64, "{accuracy} of 400 held-out sentences; chance is 0.5");
    for file in ["model.safetensors", "vocabulary.txt", "report.html"] {
        assert!(folder.path().join(file).exists(), "{file} is missing");
    }
    let words = std::fs::read_to_string(folder.path().join("vocabulary.txt")).unwrap();
    assert_eq!(words.lines().next(), Some("the"));
}

#[test]
fn one_worker_repeats_itself_to_the_last_bit() {
    let flags = "--train-size 300 --epochs 2 --workers 1 --threads 1 --quiet --fold 3";
    let flags: Vec<&str> = flags.split(' ').collect();
    let folders = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let [first, second] = folders.each_ref().map(|folder| {
        run(&flags, folder.path());
        (
            record(folder.path()).outcome.evaluation.loss,
            std::fs::read(folder.path().join("model.safetensors")),
        )
    });
    assert_eq!(first.0.to_bits(), second.0.to_bits());
    assert!(first.1.unwrap() == second.1.unwrap(), "the models differ");
    // The run continues only with the fold that it was started with.
    let resume = folders[0].path().to_str().unwrap();
    refused(
        &["--resume", resume, "--epochs", "3"],
        &["is sentence_cnn-fold-3, not sentence_cnn: resume it with the flags that started it"],
    );
    let again = ["--fold", "3", "--resume", resume, "--epochs", "3", "--quiet"];
    let output = example("sentence_cnn").args(again).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(record(folders[0].path()).epochs.len(), 3);
}

#[test]
fn every_fold_is_held_out_once_and_the_mean_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let text = run(&["--folds", "--train-size", "100", "--epochs", "1", "--quiet"], folder.path());
    let mut sum = 0.0;
    for fold in 0..5 {
        let line = text.lines().find(|line| line.starts_with(&format!("fold {fold}"))).unwrap();
        sum += line.split_whitespace().nth(2).unwrap().parse::<f64>().unwrap();
        assert!(folder.path().join(format!("sentence_cnn-fold-{fold}/run.json")).exists());
    }
    let mean = text.lines().find(|line| line.starts_with("mean")).unwrap();
    let mean: f64 = mean.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((mean - sum / 5.0).abs() < 0.01, "{text}");
}

#[test]
fn files_that_are_no_reviews_are_named_with_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reviews.tsv");
    let good = "1\tgood\n0\tbad\n";
    let bundled = std::fs::read(siren_examples::sentences::reviews::bundled()).unwrap();
    let cases: [(&[u8], &[&str]); 8] = [
        (&[good, "good\n"].concat().into_bytes(), &["line 3 of", "has no tab"]),
        (&[good, "2\tgood\n"].concat().into_bytes(), &["line 3 of", "label other than 0 and 1"]),
        (&[good, "\tgood\n"].concat().into_bytes(), &["line 3 of", "label other than 0 and 1"]),
        (
            &[good, "0\t- . -\n"].concat().into_bytes(),
            &["line 3 of", "without words: leave it out"],
        ),
        (b"1\tgood\n0\tb\xe9te\n", &["line 2 of", "is not UTF-8: convert the file"]),
        (&bundled[..bundled.len() / 2], &["truncated or damaged; copy it again"]),
        (b"", &["line 1 of", "has no tab"]),
        (good.as_bytes(), &["2 sentences: give at least 10"]),
    ];
    for (bytes, words) in cases {
        std::fs::write(&path, bytes).unwrap();
        refused(&["--data", path.to_str().unwrap()], words);
        if !words[0].contains("sentences") {
            refused(&["--data", path.to_str().unwrap()], &["reviews.tsv"]);
        }
    }
    refused(&["--data", "no/such/file"], &["no/such/file", "--data", "rt-polarity-4k.tsv.gz"]);
    let directory = folder.path().to_str().unwrap();
    refused(&["--data", directory], &[directory, "--data"]);
    refused(&["--train-size", "0"], &["training size is 0"]);
    refused(&["--fold", "5"], &["5 is not in 0..5"]);
    refused(&["--folds", "--fold", "1"], &["cannot be used with"]);
}
