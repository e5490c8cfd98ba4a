use futures::FutureExt;
use siren_core::{Batch, Layout, Metrics, Seed};
use siren_data::MemorySource;

use super::*;

/// A workload with a fixed time for each batch and for each example.
struct Busy(Layout, Duration, Duration);

impl Workload for Busy {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.0.dim()])
    }

    #[expect(clippy::disallowed_methods, reason = "a workload whose time is known")]
    fn gradient(&self, _: &[f32], batch: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
        if batch.bytes.contains(&1) {
            return Err(Error::rejected("this batch is bad"));
        }
        let until = std::time::Instant::now() + self.1 + self.2 * batch.examples as u32;
        while std::time::Instant::now() < until {}
        g.fill(0.0);
        Ok(1.0)
    }

    fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> {
        Ok(())
    }
}

fn busy() -> Arc<dyn Workload> {
    let layout = Layout::flat("busy", 1_000).unwrap();
    Arc::new(Busy(layout, Duration::from_micros(400), Duration::from_micros(20)))
}

const OPTIONS: Measuring = Measuring {
    batch_size: 40,
    threads: 1,
    workers: 1,
    cpu_time: false,
    repeats: 5,
    block: Duration::from_millis(3),
};

async fn measured(options: &Measuring, bytes: u8) -> Result<StepTime> {
    let data = MemorySource::new(vec![bytes; 400], 1).unwrap();
    measure(busy(), &data, options).await
}

#[tokio::test]
async fn a_line_is_found() {
    let step = measured(&OPTIONS, 0).await.unwrap();
    step.check().unwrap();
    let batch = step.seconds_per_batch + 40.0 * step.seconds_per_example;
    // Other programs may slow this down, but cannot make it faster.
    assert!(batch > 1.19e-3, "{step:?}");
    assert!(step.seconds_per_parameter > 0.0 && step.seconds_per_handover > 0.0, "{step:?}");
    let cpu = measured(&Measuring { threads: 3, workers: 7, cpu_time: true, ..OPTIONS }, 0)
        .await
        .unwrap();
    cpu.check().unwrap();
    assert!(cpu.seconds_per_batch + 40.0 * cpu.seconds_per_example > 0.0, "{cpu:?}");
}

#[test]
fn lines_go_through_the_last_point_and_have_no_negative_part() {
    let close = |(a, b): (f64, f64), (c, d): (f64, f64)| {
        assert!((a - c).abs() < 1e-9 && (b - d).abs() < 1e-9, "{a} {b} are not {c} {d}");
    };
    close(fit_line(&[(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)]), (1.0, 2.0));
    close(fit_line(&[(1.0, 1.0), (2.0, 6.0), (4.0, 16.0)]), (0.0, 4.0));
    close(fit_line(&[(1.0, 4.0), (2.0, 3.5), (4.0, 2.0)]), (2.0, 0.0));
    close(fit_line(&[(1.0, 4.0)]), (0.0, 4.0));
}

#[tokio::test]
async fn bad_input_is_named() {
    let cases = [
        ("batch size", Measuring { batch_size: 0, ..OPTIONS }),
        ("batch size", Measuring { batch_size: 401, ..OPTIONS }),
        ("threads", Measuring { threads: 0, ..OPTIONS }),
        ("repeats", Measuring { repeats: 0, ..OPTIONS }),
    ];
    for (name, bad) in cases {
        let error = measured(&bad, 0).await.unwrap_err();
        assert!(error.message().contains(name), "{error}");
    }
    let error = measured(&Measuring { threads: 2, ..OPTIONS }, 1).await.unwrap_err();
    assert!(error.message().contains("this batch is bad"), "{error}");
    // Dropping the future before its end has no effect on the caller.
    drop(measured(&OPTIONS, 0).now_or_never());
}
