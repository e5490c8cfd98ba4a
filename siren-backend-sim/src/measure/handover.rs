//! What it takes to hand a task to another thread and its result back.

use std::sync::mpsc;
use std::time::Instant;

use siren_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::{Measuring, median};

/// Seconds from a future that hands in an empty task until it goes on.
#[expect(clippy::disallowed_methods, reason = "this measures the machine, for a file")]
pub(super) fn seconds(how: Measuring) -> Result<f64> {
    let cannot = |error: std::io::Error| {
        Error::new(ErrorKind::Other, "cannot start a runtime to measure with").with_source(error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(cannot)?;
    let (tasks, queue) = mpsc::channel::<oneshot::Sender<()>>();
    let thread = std::thread::spawn(move || {
        while let Ok(done) = queue.recv() {
            // The future is there as long as the channel is.
            let _ = done.send(());
        }
    });
    let mut blocks = Vec::new();
    for _ in 0..how.repeats {
        let (began, mut count) = (Instant::now(), 0_u32);
        while count == 0 || began.elapsed() < how.block {
            let (done, answer) = oneshot::channel();
            let handed = tasks.send(done).is_ok() && runtime.block_on(answer).is_ok();
            if !handed {
                return Err(Error::new(ErrorKind::Lost, "the thread to hand tasks to is gone"));
            }
            count += 1;
        }
        blocks.push(began.elapsed().as_secs_f64() / f64::from(count));
    }
    drop(tasks);
    // It ends with the channel, and did not panic: it answered.
    let _ = thread.join();
    Ok(median(blocks))
}
