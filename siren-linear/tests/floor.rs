//! Training on the bundled data, with the whole library, reaches the results of a linear model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use siren_backend_local::LocalBackend;
use siren_core::{DataSource, Metrics, Result, Seed, Workload};
use siren_data::{SparseTable, Standardisation, csv, libsvm};
use siren_hsp::{
    Config, FixedScheduler, LearningRate, LrDecay, MemoryStore, ShardWorker, StopRules, Trainer,
    TrainerParts, evaluate,
};
use siren_linear::{LogisticRegression, SparseLogisticRegression};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name)
}

/// Trains with two workers and measures on the test data.
async fn trained(
    workload: Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    test: &dyn DataSource,
    config: Config,
) -> Result<Metrics> {
    let store = Arc::new(MemoryStore::initialised(&*workload, config.seed)?);
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let backend = Arc::new(LocalBackend::new(worker, store.clone(), train.clone())?);
    let scheduler = Box::new(FixedScheduler::new(2, 1_769));
    let parts = TrainerParts {
        workload: workload.clone(),
        train,
        held_out: None,
        store,
        backend,
        scheduler,
    };
    let trained = Trainer::new(parts, config)?.run().await?;
    evaluate(workload, trained.values.into(), test, None).await
}

/// Plain SGD: five epochs, in batches of 64.
fn config(rate: f32) -> Config {
    Config {
        batch_size: 64,
        learning_rate: LearningRate {
            decay: LrDecay::Cosine { epochs: 5, last: 0.1 },
            ..rate.into()
        },
        stop: StopRules { epochs: 5, ..StopRules::default() },
        ..Config::default()
    }
}

fn clicks(name: &str) -> Result<(SparseTable, SparseTable)> {
    let read = |part, features| {
        libsvm::read(data(&format!("click-through/{name}.{part}.libsvm.gz")), features)
    };
    let train = read("train", None)?;
    let test = read("test", Some(train.features))?;
    Ok((train, test))
}

async fn on_clicks(train: SparseTable, test: &SparseTable, config: Config) -> Result<Metrics> {
    let workload = Arc::new(SparseLogisticRegression::new(train.features)?);
    let source = Arc::new(train.source.shuffled(Seed::new(0)));
    trained(workload, source, &test.source, config).await
}

#[tokio::test]
async fn census_is_ranked_well() {
    let (train, test) = clicks("census-kdd").unwrap();
    assert_eq!((train.source.len(), test.source.len(), train.features), (60_000, 20_000, 552));
    let metrics = on_clicks(train, &test, config(1.0)).await.unwrap();
    assert!(metrics.auc() >= Some(0.94), "AUC {:?}", metrics.auc());
    assert!(metrics.loss() < 0.125, "log loss {}", metrics.loss());
}

/// Clicks are rare and noisy, so the loss shows the progress.
#[tokio::test]
async fn clicks_are_predicted_better_than_by_their_share() {
    let (train, test) = clicks("obd-click").unwrap();
    assert_eq!((train.source.len(), test.source.len()), (48_000, 12_000));
    let share = train.positives as f64 / train.source.len() as f64;
    let positive = test.positives as f64 / test.source.len() as f64;
    let constant = -positive * share.ln() - (1.0 - positive) * (1.0 - share).ln();
    let metrics = on_clicks(train, &test, config(0.5)).await.unwrap();
    assert!(metrics.loss() < constant, "log loss {}, constant {constant}", metrics.loss());
}

#[tokio::test]
async fn higgs_events_are_told_apart() {
    let mut train = csv::read(data("tabular/higgs.train.csv.gz")).unwrap();
    let mut test = csv::read(data("tabular/higgs.test.csv.gz")).unwrap();
    assert_eq!((train.examples(), test.examples(), train.features()), (10_000, 2_000, 28));
    let scale = Standardisation::of(&train);
    scale.apply(&mut train).unwrap();
    scale.apply(&mut test).unwrap();
    let workload = Arc::new(LogisticRegression::new(train.features()).unwrap());
    let source = Arc::new(train.pack().unwrap().shuffled(Seed::new(0)));
    let metrics = trained(workload, source, &test.pack().unwrap(), config(0.1)).await.unwrap();
    assert!(metrics.accuracy() >= Some(0.63), "accuracy {:?}", metrics.accuracy());
}
