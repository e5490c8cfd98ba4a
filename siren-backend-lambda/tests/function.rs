//! The function that the tests invoke: least squares, with a finite number of faults.

#[path = "emulated/problem.rs"]
mod problem;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use problem::LeastSquares;
use siren_core::{Batch, Layout, Metrics, Result, Seed, Workload};

fn main() -> Result<()> {
    let budget = std::env::var_os("SIREN_TEST_FAULTS").map(PathBuf::from);
    siren_backend_lambda::serve(Arc::new(Faulty {
        inner: LeastSquares::new(),
        budget,
        started: AtomicBool::new(false),
    }))
}

/// Fails once for each file in a folder. A file is named after a fault and a number. The process
/// that removes the file fails.
struct Faulty {
    inner: LeastSquares,
    budget: Option<PathBuf>,
    /// `true` once the process has started. The first call of [`Workload::layout`] is part of the
    /// start.
    started: AtomicBool,
}

impl Faulty {
    fn has(&self, fault: &str) -> bool {
        let Some(folder) = &self.budget else { return false };
        (0..10).any(|nth| std::fs::remove_file(folder.join(format!("{fault}-{nth}"))).is_ok())
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

impl Workload for Faulty {
    /// The handler calls this outside of the worker, so a function that hangs here misses its
    /// deadline.
    fn layout(&self) -> &Layout {
        if self.started.swap(true, Ordering::Relaxed) && self.has("deaf") {
            hang();
        }
        self.inner.layout()
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        self.inner.init(seed)
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        if self.has("panic") {
            panic!("a fault of the budget");
        }
        if self.has("shout") {
            panic!("{}", "no! ".repeat(2_000_000));
        }
        if self.has("exit") {
            std::process::exit(7);
        }
        if self.has("hang") {
            hang();
        }
        self.inner.gradient(params, batch, seed, gradient)
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        self.inner.evaluate(params, batch, metrics)
    }
}
