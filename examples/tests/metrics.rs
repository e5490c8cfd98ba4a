//! A metric that only one workload has, from its own file to the record, the terminal and the
//! report.

use std::sync::Arc;

use siren_backend_local::LocalBackend;
use siren_core::{
    Batch, Better, DataSource, Evaluation, Layout, Metrics, Result, Seed, TensorSpec, Workload,
};
use siren_data::MemorySource;
use siren_examples::{progress, run};
use siren_hsp::{
    Config, FixedScheduler, MemoryStore, RunRecord, ShardWorker, StopRules, Trainer, TrainerParts,
    TrainingResult,
};

/// The mean absolute error.
const ERROR: &str = "mean error";
/// A metric that is not defined for any data.
const UNDEFINED: &str = "undefined";

/// Learns the factor between two numbers.
struct Factor(Layout);

impl Factor {
    fn errors<'a>(w: f32, numbers: &'a [f32]) -> impl Iterator<Item = (f32, f32)> + 'a {
        numbers.as_chunks().0.iter().map(move |&[x, y]| (x, w * x - y))
    }
}

impl Workload for Factor {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0])
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let numbers = batch.floats(2)?;
        let share = 1.0 / batch.examples as f32;
        gradient[0] = Self::errors(params[0], &numbers).map(|(x, error)| share * error * x).sum();
        let loss: f32 =
            Self::errors(params[0], &numbers).map(|(_, error)| error * error / 2.0).sum();
        Ok(f64::from(share * loss))
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        for (_, error) in Self::errors(params[0], &batch.floats(2)?) {
            metrics.add_loss(1, f64::from(error * error / 2.0));
            metrics.add(ERROR, &[1.0, f64::from(error.abs())]);
        }
        Ok(())
    }

    fn finish(&self, metrics: &Metrics) -> Evaluation {
        metrics.evaluation().with(ERROR, metrics.mean(ERROR)).with(UNDEFINED, f64::NAN)
    }

    fn better(&self, metric: &str) -> Better {
        if metric == ERROR { Better::Lower } else { Better::Higher }
    }
}

/// Pairs of a number and twice as much.
fn pairs(from: u64, to: u64) -> Result<MemorySource> {
    let numbers: Vec<f32> = (from..to).flat_map(|i| [i as f32 / 100.0, i as f32 / 50.0]).collect();
    MemorySource::from_floats(&numbers, 2)
}

async fn train(folder: &std::path::Path) -> Result<TrainingResult> {
    let layout = Layout::new(vec![TensorSpec::new("factor", [1])])?;
    let workload: Arc<dyn Workload> = Arc::new(Factor(layout));
    let train: Arc<dyn DataSource> = Arc::new(pairs(1, 129)?);
    let store = Arc::new(MemoryStore::initialised(&*workload, 1)?);
    let worker = Arc::new(ShardWorker::new(Arc::clone(&workload)));
    let backend = Arc::new(LocalBackend::new(worker, store.clone(), Arc::clone(&train))?);
    let parts = TrainerParts {
        workload,
        train,
        held_out: Some(Arc::new(pairs(130, 600)?)),
        store,
        backend,
        scheduler: Box::new(FixedScheduler::new(2, 1_769)),
    };
    let config = Config {
        stop: StopRules { epochs: 2, ..StopRules::default() },
        out: Some(folder.into()),
        ..Config::default()
    };
    Trainer::new(parts, config)?.run().await
}

#[tokio::test]
async fn a_workload_adds_a_metric_in_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let trained = train(folder.path()).await.unwrap();
    let outcome = &trained.outcome.evaluation;
    let (first, last) = (trained.record.initial.metric(ERROR), outcome.metric(ERROR));
    assert!(last.unwrap() < first.unwrap() && last.unwrap() > 0.0, "{first:?} to {last:?}");

    // In run.json.
    let path = folder.path().join("run.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["info"]["metrics"], serde_json::json!({ ERROR: "lower" }));
    assert_eq!(json["initial"]["metrics"][ERROR].as_f64(), first);
    assert_eq!(json["outcome"]["metrics"][ERROR].as_f64(), last);
    assert_eq!(json["epochs"][1]["metrics"][ERROR].as_f64(), last);
    assert!(json["outcome"]["metrics"].get(UNDEFINED).is_none(), "not a number is left out");
    let loaded = RunRecord::load(&path).unwrap();
    assert_eq!((&loaded.info, &loaded.initial), (&trained.record.info, &trained.record.initial));
    assert_eq!(
        (&loaded.outcome, loaded.epochs),
        (&trained.record.outcome, trained.record.epochs.clone())
    );

    // On the terminal.
    let shown = siren_report::metric::text(ERROR, last.unwrap());
    assert_eq!(progress::metrics(outcome), format!("  {ERROR} {shown}"));
    let summary = run::evaluated(outcome, &trained.record.initial);
    assert!(summary.contains(&format!("  {ERROR} {shown} (before: ")), "{summary}");

    // In the report.
    let page = siren_report::render(&trained.record).unwrap();
    for text in ["Mean error over time", "Mean error over cost", "mean error; lower is better"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.contains(&format!("<dd class=\"value\">{shown}</dd>")), "the tile");
}
