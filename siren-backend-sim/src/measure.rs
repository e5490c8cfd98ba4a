//! Measurement of a workload's speed on this machine.

mod handover;
mod pass;

use std::ops::Range;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use siren_core::{DataSource, Error, ErrorKind, Result, StepTime, Workload};
use tokio::sync::oneshot;

use pass::{BatchSet, Pass};

/// The options of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measuring {
    /// The number of examples in a batch, as in the planned job. The result is exact at this size,
    /// and linear for others.
    pub batch_size: u64,
    /// The number of threads that compute at once. The cores of a machine share its caches and its
    /// memory, so measure with the number of workers that will share a machine. It is 1 for a
    /// function of one vCPU.
    pub threads: usize,
    /// The number of workers that take turns on these threads, each with its own copy of the
    /// parameters. More workers use more of the caches. At least one worker runs on each thread.
    pub workers: usize,
    /// `true` to measure the CPU time of the threads, `false` for real time. Other programs affect
    /// CPU time only through the caches. CPU time does not include threads that the workload itself
    /// starts.
    pub cpu_time: bool,
    /// The number of repetitions, of which the result is the median.
    pub repeats: u32,
    /// The minimum time of one measurement.
    pub block: Duration,
}

impl Default for Measuring {
    /// Batches of 64 examples, one worker on one thread, and nine repetitions of 20 ms of CPU time
    /// for each batch size.
    fn default() -> Self {
        Self {
            batch_size: 64,
            threads: 1,
            workers: 1,
            cpu_time: true,
            repeats: 9,
            block: Duration::from_millis(20),
        }
    }
}

impl Measuring {
    fn check(&self, examples: u64) -> Result<()> {
        let reject = |message: String| Err(Error::rejected(message));
        if self.batch_size == 0 || self.batch_size > examples {
            return reject(format!(
                "the batch size to measure is {}, and there are {examples} examples: give 1 to {examples}",
                self.batch_size
            ));
        }
        if self.threads == 0 {
            return reject("the number of threads is 0: give at least 1".into());
        }
        if self.repeats == 0 {
            return reject("the number of repeats is 0: give at least 1".into());
        }
        Ok(())
    }

    /// The batch size, and up to two smaller ones.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![self.batch_size.div_ceil(4), self.batch_size.div_ceil(2)];
        sizes.push(self.batch_size);
        sizes.dedup();
        sizes
    }
}

/// Measures a workload on this machine with the steps of a worker: pull, gradient and its norm,
/// push. All threads share a store in memory.
///
/// At the given batch size b, `seconds_per_batch + b * seconds_per_example` is the median time of a
/// step. The slope is the median over pairs of batch sizes (Theil, 1950), limited to the range from
/// 0 to the whole time. `seconds_per_parameter` is the time of a pull and a push, divided by the
/// number of parameters that they touch. `seconds_per_handover` is the additional time of a task
/// that is handed to another thread and back.
///
/// The result describes this machine at this moment. Store it in a file, and give this to
/// simulations.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`], naming the field, when `options` are invalid, and the errors of
/// the data and the workload.
///
/// # Cancellation
///
/// Dropping the future does not stop the measurement, which runs to its end on its own thread.
pub async fn measure(
    workload: Arc<dyn Workload>,
    data: &dyn DataSource,
    options: &Measuring,
) -> Result<StepTime> {
    options.check(data.len())?;
    let mut batch_sets = Vec::new();
    for size in options.sizes() {
        batch_sets.push(BatchSet { examples: size, batches: fetch(data, size).await? });
    }
    let (options, (done, measured)) = (*options, oneshot::channel());
    std::thread::spawn(move || {
        // Sending fails when the caller was dropped.
        let _ = done.send(on_threads(&workload, &batch_sets, options));
    });
    measured.await.map_err(|gone| {
        Error::new(ErrorKind::Worker, "the workload panicked while it was measured")
            .with_source(gone)
    })?
}

/// Batches of one size, as different as the data allows.
async fn fetch(data: &dyn DataSource, size: u64) -> Result<Vec<Vec<u8>>> {
    const MOST: u64 = 16;
    let starts = (0..data.len() / size).take(MOST as usize).map(|index| index * size);
    let ranges: Vec<Range<u64>> = starts.map(|start| start..start + size).collect();
    let mut batches = Vec::new();
    for range in ranges {
        batches.push(data.fetch(range).await?);
    }
    Ok(batches)
}

fn on_threads(
    workload: &Arc<dyn Workload>,
    batch_sets: &[BatchSet],
    options: Measuring,
) -> Result<StepTime> {
    let passes = Pass::new(workload, batch_sets, options)?;
    let barrier = Barrier::new(options.threads);
    let measured: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|thread| {
                let (passes, barrier) = (&passes, &barrier);
                scope.spawn(move || passes.measure(thread, barrier))
            })
            .collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut steps: Vec<Vec<f64>> = batch_sets.iter().map(|_| Vec::new()).collect();
    let mut parameters = Vec::new();
    for thread in measured {
        let panicked =
            |_| Error::new(ErrorKind::Worker, "the workload panicked while it was measured");
        for block in thread.map_err(panicked)?? {
            steps[block.batch_set].push(block.step_s);
            parameters.push(block.parameter_s);
        }
    }
    let medians: Vec<(f64, f64)> = batch_sets
        .iter()
        .zip(steps)
        .map(|(batch_set, s)| (batch_set.examples as f64, median(s)))
        .collect();
    let (seconds_per_batch, seconds_per_example) = fit_line(&medians);
    Ok(StepTime {
        seconds_per_example,
        seconds_per_batch,
        seconds_per_parameter: median(parameters),
        seconds_per_handover: handover::seconds(options)?,
        ..StepTime::default()
    })
}

/// The intercept and the slope of a line through the last point. Neither is negative.
fn fit_line(points: &[(f64, f64)]) -> (f64, f64) {
    let Some(&(examples, seconds)) = points.last() else { return (0.0, 0.0) };
    let slopes = points
        .iter()
        .enumerate()
        .flat_map(|(index, a)| points[index + 1..].iter().map(move |b| (b.1 - a.1) / (b.0 - a.0)));
    let slopes: Vec<f64> = slopes.collect();
    let most = seconds / examples;
    let slope = if slopes.is_empty() { most } else { median(slopes).clamp(0.0, most) };
    (seconds - slope * examples, slope)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => numbers.get(middle.wrapping_sub(1)).map_or(0.0, |low| (low + numbers[middle]) / 2.0),
        _ => numbers[middle],
    }
}

#[cfg(test)]
mod tests;
