//! The time of handing a task to another thread, and its result back.

use std::sync::mpsc;
use std::time::Duration;

use siren_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::pass::Stopwatch;
use super::{Measuring, median};

/// The work of a task. After a shorter one, the waiting threads would still be awake.
const WORK: Duration = Duration::from_micros(300);

/// The result of a task: its time, and the time of its thread since the last task.
type Answer = oneshot::Sender<(Duration, Duration)>;

/// The seconds from the submission of a task by a future until the future continues, without the
/// task itself. With CPU time, the seconds of both threads.
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
            // The future exists as long as the channel.
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
            // In real time, this thread waited meanwhile, which is not work.
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
    // The thread ends with the channel. It did not panic, since it answered.
    let _ = thread.join();
    Ok(median(blocks))
}
