//! Workers in this process.
//!
//! All invocations of an epoch run concurrently. A worker holds a thread only inside
//! [`Context::compute`](siren_core::Context::compute); threads are granted in the order of
//! requests. So 64 workers on two threads interleave step by step, and the parameters that they
//! read are as stale as on a swarm.
//!
//! The bill is an estimate: the execution time of a worker, without its waits for a thread, at the
//! price of AWS Lambda and without request fees. Time is multiplied by the slowdown of a function
//! with less than 1,769 MB. In bulk and stale mode, a worker also waits for other workers. This
//! wait is billed if every worker has its own thread. With more workers than threads it is mostly a
//! wait for threads, and is not billed. The timeout of an invocation limits the billed time.

mod backend;
mod context;
mod meter;
mod pool;
mod store;

pub use backend::LocalBackend;
pub use siren_function::WallClock;
