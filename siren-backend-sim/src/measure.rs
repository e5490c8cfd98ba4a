//! How fast this machine is at a workload.

mod handover;
mod pass;

use std::ops::Range;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use siren_core::{DataSource, Error, ErrorKind, Result, StepTime, Workload};
use tokio::sync::oneshot;

use pass::{BatchSet, Pass};

/// How a workload is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measuring {
    /// Examples in a batch, as the job will have them: at this size the result is exact, and others follow
    /// a straight line.
    pub batch_size: u64,
    /// Threads that compute at once. The cores of a machine share its caches and its memory: where several
    /// workers will, measure with as many. A function of one vCPU has one.
    pub threads: usize,
    /// Workers that take turns on these threads, each with its own copy of the parameters: more of them
    /// need more of the caches. Never fewer than there are threads.
    pub workers: usize,
    /// Whether to count the CPU time of the threads, or real time. Other programs on this machine have no
    /// part in CPU time, but for what they do to its caches; a workload that starts threads of its own is
    /// not seen by it.
    pub cpu_time: bool,
    /// How often everything is measured; medians count.
    pub repeats: u32,
    /// How long one measurement takes, at least.
    pub block: Duration,
}

impl Default for Measuring {
    /// Batches of 64 of one worker on one thread, nine times 20 ms of CPU time for each batch size.
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

    /// The batch size, and two smaller ones as far as there are.
    fn sizes(&self) -> Vec<u64> {
        let mut sizes = vec![self.batch_size.div_ceil(4), self.batch_size.div_ceil(2)];
        sizes.push(self.batch_size);
        sizes.dedup();
        sizes
    }
}

/// Measures a workload on this machine, as a worker runs it: pull, gradient and its norm, push, on a store
/// in memory that all threads share.
///
/// At the batch size b asked for, `seconds_per_batch + b * seconds_per_example` is the median time of a
/// step; the slope is the median over pairs of batch sizes (Theil, 1950), from 0 to the whole time.
/// `seconds_per_parameter` is the time of a pull and a push over the parameters that they touch, and
/// `seconds_per_handover` is what a task costs, beside itself, that is handed to another thread and back.
///
/// The result describes this machine at this moment: pass it to a simulation as a file, or commit it.
///
/// # Errors
///
/// Rejected when `options` cannot be, naming the field; whatever the data and the workload answer.
///
/// # Cancellation
///
/// Dropping the future forgets the measurement, which runs to its end on a thread of its own.
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
        // Nobody listens any more when the caller was dropped.
        let _ = done.send(on_threads(&workload, &batch_sets, options));
    });
    measured.await.map_err(|gone| {
        Error::new(ErrorKind::Worker, "the workload panicked while it was measured")
            .with_source(gone)
    })?
}

/// Batches of one size that are different ones, as far as there are.
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

/// Intercept and slope, neither of them negative, of a line through the last point.
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
