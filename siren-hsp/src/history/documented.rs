//! Checks the document of a run's files against the fields that are written.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use siren_core::{
    Better, Compression, Evaluation, Noise, NoiseScale, Optimizer, Platform, StopReason, SyncMode,
    Usd,
};

use super::{EpochRecord, HistoryEvent, OutcomeRecord, RunInfo, RunRecord, SCHEMA};
use crate::{Config, LearningRate, LrClock, LrDecay, Retry, StopRules};

/// Words in backticks that are neither fields nor values of these types.
const OTHER_WORDS: [&str; 3] = ["null", "true", "false"];

#[test]
fn the_document_of_the_files_has_every_field_and_no_other() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/files.md");
    let text = std::fs::read_to_string(path).unwrap();
    let record = record();
    let value = serde_json::to_value(&record).unwrap();
    let evaluation = serde_json::to_value(&record.initial).unwrap();
    let evaluated = keys(&evaluation);
    same(&text, "## run.json", &keys(&value));
    same(&text, "### Evaluation", &evaluated);
    for (section, value) in [
        ("### info", &value["info"]),
        ("### config", &value["config"]),
        ("### outcome", &value["outcome"]),
        ("### epochs", &value["epochs"][0]),
    ] {
        same(&text, section, &keys(value));
        // The fields of an object are named in its row.
        for (name, field) in value.as_object().unwrap() {
            if field.is_object() && !["labels", "metrics"].contains(&name.as_str()) {
                let named = words(row(&text, section, name));
                let all = keys(field);
                let common: BTreeSet<_> = all.intersection(&named).cloned().collect();
                // The constants of a variant have no row.
                let varies = ["optimizer", "compression", "platform"].contains(&name.as_str());
                assert!(
                    common == all || varies && common.contains("name"),
                    "{name} has the fields {all:?}, not {named:?}"
                );
            }
        }
    }
    for event in events(&record) {
        let value = serde_json::to_value(&event).unwrap();
        let name = value["event"].as_str().unwrap();
        let cells: Vec<&str> = row(&text, "## history.jsonl", name).split('|').collect();
        let mut fields = keys(&value);
        fields.remove("event");
        // An epoch and an outcome have their own sections.
        if !cells[2].contains("as in") {
            assert_eq!(words(cells[2]), fields, "the fields of {name}");
        }
    }
    let names = events(&record)
        .map(|event| serde_json::to_value(&event).unwrap()["event"].as_str().unwrap().to_owned());
    assert_eq!(first_cells(&text, "## history.jsonl"), names.into_iter().collect());
}

/// Every lower-case word in backticks below the two JSON files is a field, or a value of one.
#[test]
fn the_document_of_the_files_names_nothing_that_does_not_exist() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/files.md");
    let text = std::fs::read_to_string(path).unwrap();
    let record = record();
    let mut known: BTreeSet<String> = OTHER_WORDS.map(Into::into).into();
    collect(&serde_json::to_value(&record).unwrap(), &mut known);
    for event in events(&record) {
        collect(&serde_json::to_value(&event).unwrap(), &mut known);
    }
    for optimizer in Optimizer::samples() {
        collect(&serde_json::to_value(optimizer).unwrap(), &mut known);
    }
    let stale = SyncMode::Stale { bound: 1 };
    for mode in [SyncMode::Hybrid, SyncMode::Bulk, stale] {
        collect(&serde_json::to_value(mode).unwrap(), &mut known);
    }
    for noise in [Noise::Off, Noise::Measure, Noise::RULE] {
        collect(&serde_json::to_value(noise).unwrap(), &mut known);
    }
    collect(&serde_json::to_value(Compression::None).unwrap(), &mut known);
    collect(&serde_json::to_value(Better::Lower).unwrap(), &mut known);
    for reason in [
        StopReason::TargetLoss,
        StopReason::Epochs,
        StopReason::TimeLimit,
        StopReason::Budget,
        StopReason::Interrupted,
        StopReason::Diverged,
    ] {
        collect(&serde_json::to_value(reason).unwrap(), &mut known);
    }
    for section in ["## run.json", "### Evaluation", "### info", "### config", "### outcome"]
        .into_iter()
        .chain(["### epochs", "## history.jsonl"])
    {
        let unknown: Vec<_> = words(table(&text, section)).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{section} names {unknown:?}, which are not in the files");
    }
}

/// Asserts that the first cells of a section's table are these fields.
fn same(text: &str, section: &str, fields: &BTreeSet<String>) {
    let named = first_cells(text, section);
    let missing: Vec<_> = fields.difference(&named).collect();
    let unknown: Vec<_> = named.difference(fields).collect();
    assert!(missing.is_empty(), "{section} does not name {missing:?}");
    assert!(unknown.is_empty(), "{section} names {unknown:?}, which do not exist");
}

/// The rows of the table of a section.
fn table<'a>(text: &'a str, section: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n{section}\n")).unwrap();
    let rest = &rest[rest.find("\n| --- ").unwrap() + 1..];
    let rows = &rest[rest.find('\n').unwrap() + 1..];
    rows.split("\n\n").next().unwrap()
}

fn row<'a>(text: &'a str, section: &str, field: &str) -> &'a str {
    let quoted = format!("`{field}`");
    let mut rows = table(text, section).lines();
    rows.find(|row| row.split('|').nth(1).unwrap().contains(&quoted)).unwrap()
}

fn first_cells(text: &str, section: &str) -> BTreeSet<String> {
    table(text, section).lines().flat_map(|row| words(row.split('|').nth(1).unwrap())).collect()
}

/// All names in backticks, those inside JSON too.
fn words(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = quoted.flat_map(|quoted| quoted.split(move |c| !name(c)));
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(Into::into)
        .collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

/// The keys and the texts of a value, at every depth.
fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                into.insert(name.clone());
                collect(value, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        Value::String(text) => {
            into.insert(text.clone());
        }
        _ => {}
    }
}

/// One event of each kind. A new kind does not compile until it is listed.
fn events(record: &RunRecord) -> [HistoryEvent; 7] {
    let next = |last: &HistoryEvent| match last {
        HistoryEvent::Started { .. } => Some(HistoryEvent::Reserved { epoch: 1, usd: 0.5 }),
        HistoryEvent::Reserved { .. } => Some(HistoryEvent::Settled { epoch: 1, usd: 0.5 }),
        HistoryEvent::Settled { .. } => {
            let error = "lost".into();
            Some(HistoryEvent::Retried { epoch: 1, shard: 2, attempt: 1, error })
        }
        HistoryEvent::Retried { .. } => {
            let error = "lost".into();
            Some(HistoryEvent::AggregatorRetried { epoch: 1, aggregator: 0, attempt: 1, error })
        }
        HistoryEvent::AggregatorRetried { .. } => {
            Some(HistoryEvent::Epoch(Box::new(record.epochs[0].clone())))
        }
        HistoryEvent::Epoch(_) => Some(HistoryEvent::Finished(record.outcome.clone())),
        HistoryEvent::Finished(_) => None,
    };
    let all: Vec<_> = std::iter::successors(Some(HistoryEvent::started(0)), next).collect();
    all.try_into().expect("as many as there are kinds")
}

/// A record with a value in every optional field.
fn record() -> RunRecord {
    let evaluation = Evaluation::new(0.5).with("accuracy", 0.9).with("auc", 0.95);
    RunRecord {
        schema: SCHEMA,
        run: "lenet".into(),
        info: RunInfo {
            parameters: 61_706,
            examples: 60_000,
            held_out: 10_000,
            layout: "9f86d081884c7d65".into(),
            data_fingerprint: "2cf24dba5fb0a30e".into(),
            metrics: [("auc".to_owned(), Better::Higher)].into(),
            platform: Platform::aws_lambda(),
        },
        config: Config {
            run: "lenet".into(),
            learning_rate: LearningRate {
                base: 0.1,
                decay: LrDecay::Exponential { factor: 0.9 },
                warmup: 1,
                clock: LrClock::Epochs,
            },
            clip_norm: Some(1.0),
            compression: Compression::TopK { share: 0.01 },
            stop: StopRules {
                epochs: 3,
                target_loss: Some(0.1),
                time_limit: Some(Duration::from_secs(60)),
                budget: Some(Usd::new(1.0)),
            },
            retry: Retry::default(),
            data_fingerprint: Some(1),
            ..Config::default()
        },
        initial: evaluation.clone(),
        outcome: OutcomeRecord {
            reason: StopReason::Budget,
            detail: Some("the money left pays for nothing".into()),
            evaluation: evaluation.clone(),
            elapsed_s: 10.0,
            cost_usd: 0.1,
        },
        epochs: vec![EpochRecord {
            epoch: 0,
            workers: 4,
            workers_asked: 4,
            memory_mb: 1_792,
            local_steps: Some(4),
            learning_rate: 0.1,
            evaluation,
            train_loss: 0.6,
            elapsed_s: 8.0,
            evaluate_s: 1.0,
            fetch_s: 0.1,
            compute_s: 6.0,
            update_s: 0.5,
            queue_s: 0.0,
            round_wait_s: 0.0,
            wait_s: 0.2,
            cpu_utilisation: 0.9,
            memory_utilisation: 0.1,
            memory_shared: false,
            updates: 100,
            batches: 100,
            complete: true,
            retries: 1,
            staleness_mean: 3.0,
            staleness_max: 9,
            step_factor: 1.0,
            progress: 1.0,
            noise_scale: Some(NoiseScale {
                examples: 120.0,
                standard_error: 9.0,
                above: false,
                at_floor: 0.1,
                windows: 12,
            }),
            aggregators: 1,
            aggregator_retries: 0,
            aggregator_cost_usd: 0.01,
            driver_cost_usd: 0.01,
            egress_bytes: 1_000,
            computed_bills: 0,
            cost_usd: 0.1,
            budget_left_usd: Some(0.9),
        }],
    }
}
