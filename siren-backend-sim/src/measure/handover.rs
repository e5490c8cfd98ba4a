//! What it takes to hand a task to another thread and its result back.

use std::sync::mpsc;
use std::time::Duration;

use siren_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::pass::Stopwatch;
use super::{Measuring, median};

/// A task works so long: threads that wait for less are still awake when it ends.
const WORK: Duration = Duration::from_micros(300);

/// What a task says: how long it worked, and how long its thread has worked since the last one.
type Answer = oneshot::Sender<(Duration, Duration)>;

/// Seconds for a task from a future that hands it in until it goes on, without the task: time that passes
/// or, if CPU time is measured, that of both threads.
pub(super) fn seconds(options: Measuring) -> Result<f64> {
    let cannot = |error: std::io::Error| {
        Error::new(ErrorKind::Other, "cannot start a runtime to measure with").with_source(error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(cannot)?;
    let (tasks, queue) = mpsc::channel::<Answer>();
    let thread = std::thread::spawn(move || {
        let stopwatch = Stopwatch::new(options.cpu_time);
        let mut last = stopwatch.read();
        while let Ok(done) = queue.recv() {
            let began = stopwatch.read();
            while stopwatch.read() < began + WORK {}
            let now = stopwatch.read();
            // The future is there as long as the channel is.
            let _ = done.send((now - began, now - last));
            last = now;
        }
    });
    let stopwatch = Stopwatch::new(options.cpu_time);
    let mut blocks = Vec::new();
    for _ in 0..options.repeats {
        let (began, mut count, mut rest) = (stopwatch.read(), 0_u32, Duration::ZERO);
        let (mut worked, least) = (Duration::ZERO, options.block.max(WORK * 2));
        while worked < least {
            let (done, answer) = oneshot::channel();
            let gone = |_| Error::new(ErrorKind::Lost, "the thread to hand tasks to is gone");
            tasks.send(done).map_err(|_| gone(()))?;
            let (work, since) = runtime.block_on(answer).map_err(|_| gone(()))?;
            worked += work;
            // In real time it waited meanwhile, which is no work.
            rest += if options.cpu_time { since.saturating_sub(work) } else { Duration::ZERO };
            count += 1;
        }
        let mut took = stopwatch.read() - began;
        if !options.cpu_time {
            took = took.saturating_sub(worked);
        }
        blocks.push((took + rest).as_secs_f64() / f64::from(count));
    }
    drop(tasks);
    // It ends with the channel, and did not panic: it answered.
    let _ = thread.join();
    Ok(median(blocks))
}
