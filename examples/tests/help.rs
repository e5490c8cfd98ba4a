//! The help prints the defaults that runs use, and output may be cut short.

mod support;

use std::path::Path;
use std::process::Stdio;

use siren_core::{Optimizer, SyncMode};
use siren_hsp::RunRecord;
use support::{example, said};

/// The help of a flag in `text`, on one line.
fn help(text: &str, flag: &str) -> String {
    let line = text.lines().find(|line| line.contains(&format!("--{flag} <")));
    line.unwrap_or_else(|| panic!("--{flag} is missing:\n{text}")).to_owned()
}

/// The default in the help of a flag, without the conditions under which it has another value.
fn default(text: &str, flag: &str) -> String {
    let line = help(text, flag);
    let (_, after) = line.split_once("[default: ").unwrap_or_else(|| panic!("no default: {line}"));
    after.split([']', ';', ',']).next().unwrap().to_owned()
}

/// Runs an example with its defaults, apart from the number of examples, and compares them with the
/// help.
fn the_help_prints_what_a_run_uses(name: &str, train_size: &str) {
    let text = said(&example(name).arg("-h").output().unwrap());
    // The default output folder is below the working directory.
    let folder = tempfile::tempdir().unwrap();
    let mut command = example(name);
    let command = command.current_dir(folder.path()).args(["--train-size", train_size, "--quiet"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let out = folder.path().join(default(&text, "out"));
    let record: RunRecord =
        serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    let config = &record.config;
    let first = &record.epochs[0];
    let mut used = vec![
        ("epochs", record.epochs.len() as f64),
        ("batch-size", config.batch_size as f64),
        ("learning-rate", config.learning_rate.base.into()),
        ("clip-norm", config.clip_norm.unwrap().into()),
        ("weight-decay", config.weight_decay.into()),
        ("local-steps", config.local_steps as f64),
        ("seed", config.seed as f64),
        ("workers", first.workers_asked.into()),
        ("memory-mb", first.memory_mb.into()),
        ("threads", std::thread::available_parallelism().unwrap().get() as f64),
    ];
    match config.optimizer {
        Optimizer::Momentum { momentum } | Optimizer::Nesterov { momentum } => {
            used.push(("momentum", momentum.into()));
        }
        Optimizer::Sgd => used.push(("momentum", 0.0)),
        Optimizer::Adagrad { .. } | Optimizer::Adam { .. } | Optimizer::AdamW { .. } => {}
    }
    for (flag, value) in used {
        let shown: f64 = default(&text, flag).parse().unwrap();
        assert!((shown - value).abs() < 1e-6, "--{flag} is {value}, not {shown}");
    }
    let optimizer = if config.optimizer == Optimizer::ADAM { "adam" } else { "momentum" };
    assert_eq!(default(&text, "optimizer"), optimizer);
    assert_eq!(
        (default(&text, "sync-mode").as_str(), config.sync_mode),
        ("hybrid", SyncMode::Hybrid)
    );
    assert_eq!(default(&text, "scheduler"), "fixed");
    assert!(Path::new(&default(&text, "data")).exists(), "{text}");
}

#[test]
fn the_help_of_lenet_mnist_prints_what_a_run_uses() {
    the_help_prints_what_a_run_uses("lenet_mnist", "256");
}

#[test]
fn the_help_of_sentence_cnn_prints_what_a_run_uses() {
    the_help_prints_what_a_run_uses("sentence_cnn", "200");
}

#[test]
fn the_help_names_the_conditions_of_other_defaults() {
    let text = |name: &str| said(&example(name).arg("-h").output().unwrap());
    let (lenet, sentences) = (text("lenet_mnist"), text("sentence_cnn"));
    for (text, flag, words) in [
        (&lenet, "batch-size", "[default: 8]"),
        (&lenet, "optimizer", "[default: adam]"),
        (&lenet, "noise", "[default: rule; measure with --sync-mode bulk]"),
        (
            &lenet,
            "learning-rate",
            "[default: 0.001; 0.01 with --optimizer momentum or --optimizer nesterov or \
             --optimizer adagrad]",
        ),
        (&sentences, "batch-size", "[default: 16]"),
        (
            &sentences,
            "learning-rate",
            "[default: 0.001; 0.01 with --optimizer momentum or --optimizer nesterov; 0.03 with \
             --optimizer adagrad]",
        ),
    ] {
        let line = help(text, flag);
        assert!(line.contains(words), "{words:?} is missing: {line}");
    }
    // The long help has a line for each value.
    let long = said(&example("lenet_mnist").arg("--help").output().unwrap());
    for value in ["agent:FILE:", "stale=N:", "planner:"] {
        assert!(long.contains(value), "{value:?} is missing:\n{long}");
    }
}

/// Runs an example whose output has no reader.
fn unread(name: &str, flags: &[&str]) {
    let mut child =
        example(name).args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name} {flags:?}: {}", said(&output));
    assert_eq!(said(&output), "", "{name} {flags:?}");
}

#[test]
fn output_without_a_reader_ends_a_program_quietly_and_loses_no_file() {
    unread("lenet_mnist", &["--preview"]);
    unread("sentence_cnn", &["--preview"]);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    unread("lenet_mnist", &["--train-size", "128", "--epochs", "1", "--quiet", "--out", out]);
    for file in ["run.json", "history.jsonl", "checkpoint", "model.safetensors", "report.html"] {
        assert!(folder.path().join(file).exists(), "{file} is missing");
    }
}
