//! Workers in this process.
//!
//! All invocations of an epoch are live at once; a thread is a permit that is held only inside
//! [`Context::compute`](siren_core::Context::compute) and granted in the order of asking. So 64
//! workers on two threads interleave step by step, and what they see of one another is really stale.
//!
//! The bill is an estimate: a worker's execution (its waits for a permit left out), at AWS Lambda's
//! price, stretched by how much slower a function of less than 1,769 MB would be; no request fees.
//! A wait for other workers, under bulk or stale mode, is billed where every worker has a thread of
//! its own; with more workers than threads it is mostly a wait for threads, and is left out too.
//! The timeout of an invocation is a limit on that billed time.

mod backend;
mod context;
mod meter;
mod pool;
mod store;

pub use backend::LocalBackend;
pub use siren_function::WallClock;
