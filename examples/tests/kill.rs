//! A run that is killed at any moment continues from its last barrier.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rand_distr::{Distribution, Uniform};
use siren_core::Seed;
use siren_hsp::{Checkpoint, RunRecord};
use support::{example, said};

const EPOCHS: usize = 4;

fn flags(folder: &Path) -> Vec<String> {
    let out = folder.to_str().unwrap();
    // One worker: the same arithmetic in the same order, however often it is interrupted.
    let flags = format!(
        "--train-size 1024 --epochs {EPOCHS} --workers 1 --batch-size 32 --threads 1 --lr 0.05 \
         --out {out}"
    );
    flags.split_whitespace().map(Into::into).collect()
}

fn record(folder: &Path) -> RunRecord {
    let text = std::fs::read(folder.join("run.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "processes live in real time")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn a_run_killed_at_random_moments_ends_as_if_it_had_not_been() {
    let whole = tempfile::tempdir().unwrap();
    let output = example("lenet_mnist").args(flags(whole.path())).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let whole_record = record(whole.path());
    assert_eq!(whole_record.epochs.len(), EPOCHS);

    let folder = tempfile::tempdir().unwrap();
    let time = whole_record.outcome.elapsed_s;
    let mut moments = Uniform::new(0.1 * time, 0.6 * time).unwrap().sample_iter(Seed::new(5).rng());
    let mut sealed = 0;
    let mut kills = 0;
    while kills < 5 {
        let mut command = example("lenet_mnist");
        if folder.path().join("checkpoint").exists() {
            command.arg("--resume").arg(folder.path());
        } else {
            command.args(flags(folder.path()));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait(Duration::from_secs_f64(moments.next().unwrap()));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if let Ok(checkpoint) = Checkpoint::load(folder.path()) {
            assert!(checkpoint.epochs().len() >= sealed, "a sealed epoch was lost");
            sealed = checkpoint.epochs().len();
        }
    }
    assert!(kills >= 2, "the run ended before it could be killed");
    let mut command = example("lenet_mnist");
    let output = command.arg("--resume").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let resumed = record(folder.path());
    let numbers: Vec<u64> = resumed.epochs.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(numbers, (0..EPOCHS as u64).collect::<Vec<_>>(), "no epoch is repeated or skipped");
    assert_eq!(resumed.outcome.evaluation, whole_record.outcome.evaluation);
    assert!(resumed.outcome.cost_usd >= whole_record.outcome.cost_usd * 0.5);
    let files = ["model.safetensors", "report.html", "run.json", "history.jsonl"];
    for file in files {
        assert!(folder.path().join(file).exists(), "{file} is missing");
    }

    // As after a kill between the last barrier and the files.
    for file in &files[..3] {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    let output = example("lenet_mnist").arg("--resume").arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    for file in files {
        assert!(folder.path().join(file).exists(), "{file} is missing after another resume");
    }
    let again = record(folder.path());
    assert_eq!(
        (again.epochs, again.outcome.evaluation.loss),
        (resumed.epochs, resumed.outcome.evaluation.loss)
    );
}

/// Sends the signal of Ctrl-C.
#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_last_checkpoint_and_says_how_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    let mut flags = flags(folder.path());
    flags.extend(["--epochs".into(), "10000".into()]);
    flags.retain(|flag| flag != &EPOCHS.to_string());
    let at = flags.iter().position(|flag| flag == "--epochs").unwrap();
    flags.remove(at);
    let child = example("lenet_mnist")
        .args(flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sealed = || Checkpoint::load(folder.path()).is_ok_and(|c| !c.epochs().is_empty());
    for _ in 0..600 {
        if sealed() {
            break;
        }
        wait(Duration::from_millis(100));
    }
    assert!(sealed(), "no epoch was sealed within a minute");
    let id = child.id().to_string();
    let status = std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(status.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("interrupted"), "{said}");
    assert!(said.contains(&format!("--resume {}", folder.path().display())), "{said}");
    let record = record(folder.path());
    assert_eq!(record.epochs.len(), Checkpoint::load(folder.path()).unwrap().epochs().len());
}
