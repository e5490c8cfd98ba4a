//! The local backend and its clock keep their contracts.

use std::sync::{Arc, LazyLock};

use siren_backend_local::{LocalBackend, WallClock};
use siren_core::Worker;
use siren_core::conformance::{backend, backend_tests, clock, clock_tests};
use siren_data::MemorySource;
use siren_hsp::MemoryStore;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

fn local(worker: Arc<dyn Worker>, threads: usize) -> LocalBackend {
    let store = Arc::new(MemoryStore::new(vec![0.0; 4]).unwrap());
    let data = Arc::new(MemorySource::new(vec![0; 64], 1).unwrap());
    LocalBackend::with_threads(worker, store, data, threads).unwrap()
}

backend_tests!(
    one_thread,
    backend::Subject::driven(|worker| local(worker, 1), |_, future| RUNTIME.block_on(future))
);

backend_tests!(
    four_threads,
    backend::Subject::driven(|worker| local(worker, 4), |_, future| RUNTIME.block_on(future))
);

clock_tests!(
    wall_clock,
    clock::Subject::driven(WallClock::new(), |_, future| RUNTIME.block_on(future))
);
