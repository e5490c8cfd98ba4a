//! Evaluates a model on held-out data.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use siren_core::{
    Batch, ComputeTask, DataSource, Error, ErrorKind, Metrics, Result, Work, Workload,
};
use tokio::sync::oneshot;

/// The number of examples in one call of the workload.
const CHUNK: u64 = 200;

/// The number of chunks per thread that are in memory at once.
const CHUNKS_PER_THREAD: u64 = 16;

/// Evaluates the workload at `params` over all of `data`, on `threads` threads (all cores if
/// `None`). Parts are merged in their order, so the result does not depend on the number of
/// threads.
///
/// # Errors
///
/// Returns the errors of the source and of the workload, and [`ErrorKind::Worker`] when the
/// workload panics.
pub async fn evaluate(
    workload: Arc<dyn Workload>,
    params: Arc<[f32]>,
    data: &dyn DataSource,
    threads: Option<usize>,
) -> Result<Metrics> {
    evaluate_by(workload, params, data, threads, |_, task| async {
        let (done, finished) = oneshot::channel();
        std::thread::spawn(move || {
            task();
            // The receiver is gone if the caller was dropped.
            let _ = done.send(());
        });
        finished.await.map_err(|_| panicked())
    })
    .await
}

/// As [`evaluate`], with `run` to run tasks off this thread.
pub(crate) async fn evaluate_by<F: Future<Output = Result<()>>>(
    workload: Arc<dyn Workload>,
    params: Arc<[f32]>,
    data: &dyn DataSource,
    threads: Option<usize>,
    run: impl Fn(Work, ComputeTask) -> F,
) -> Result<Metrics> {
    let threads = threads
        .or_else(|| std::thread::available_parallelism().map(NonZeroUsize::get).ok())
        .unwrap_or(1)
        .max(1);
    let mut whole = Metrics::new();
    let mut start = 0;
    while start < data.len() {
        let mut chunks = Vec::new();
        let first = start;
        while start < data.len() && (chunks.len() as u64) < threads as u64 * CHUNKS_PER_THREAD {
            let end = (start + CHUNK).min(data.len());
            chunks.push(((end - start) as usize, data.fetch(start..end).await?));
            start = end;
        }
        let (workload, params) = (Arc::clone(&workload), Arc::clone(&params));
        let merged = Arc::new(Mutex::new(None));
        let into = Arc::clone(&merged);
        let mut so_far = std::mem::take(&mut whole);
        let task = Box::new(move || {
            let measured = on_threads(&*workload, &params, &chunks, threads).map(|parts| {
                // Merged inside this task: a workload may return parts that cannot be merged, and
                // the merge then panics.
                parts.iter().for_each(|part| so_far.merge(part));
                so_far
            });
            *into.lock().unwrap_or_else(PoisonError::into_inner) = Some(measured);
        });
        run(Work::Evaluation { examples: start - first }, task).await?;
        let merged = merged.lock().unwrap_or_else(PoisonError::into_inner).take();
        whole = merged.ok_or_else(panicked)??;
    }
    Ok(whole)
}

fn on_threads(
    workload: &dyn Workload,
    params: &[f32],
    chunks: &[(usize, Vec<u8>)],
    threads: usize,
) -> Result<Vec<Metrics>> {
    let next = AtomicUsize::new(0);
    let parts = Mutex::new(vec![Metrics::new(); chunks.len()]);
    let work = || -> Result<()> {
        while let Some((index, (examples, bytes))) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            chunks.get(index).map(|chunk| (index, chunk))
        } {
            let mut metrics = Metrics::new();
            workload.evaluate(params, &Batch::new(*examples, bytes), &mut metrics)?;
            parts.lock().unwrap_or_else(PoisonError::into_inner)[index] = metrics;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.min(chunks.len())).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
    })?;
    Ok(parts.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Worker, "the workload panicked in an evaluation")
}
