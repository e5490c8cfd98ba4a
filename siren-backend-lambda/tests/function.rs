//! The function that the tests invoke: least squares, with a finite budget of faults.

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

/// Fails as often as there are files in a folder, each named by a fault and a number; who removes one
/// has the fault.
struct Faulty {
    inner: LeastSquares,
    budget: Option<PathBuf>,
    /// Whether the process has started: its first look at the layout belongs to that.
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
    /// Read where a request is handled, so that a function which hangs here is deaf to its deadline.
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
