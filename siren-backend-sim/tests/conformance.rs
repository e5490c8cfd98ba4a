//! The conformance suites for the virtual clock and the simulated backends.

use std::sync::Arc;

use siren_backend_sim::{SimBackend, SimStore, Simulation, VirtualClock};
use siren_core::conformance::{backend, clock};
use siren_core::{Machine, Seed, StepTime, Worker, backend_tests, clock_tests};
use siren_data::MemorySource;
use siren_hsp::MemoryStore;

clock_tests!(
    virtual_clock,
    clock::Subject::driven(VirtualClock::new(), |clock, future| clock.run(future).unwrap()),
);

/// 100 microseconds for each of the suite's short tasks.
const STEP: StepTime = StepTime {
    seconds_per_example: 1e-4,
    flops_per_example: 0.0,
    seconds_per_batch: 1e-4,
    seconds_per_parameter: 1e-4,
    seconds_per_handover: 1e-6,
    parallel_share: 0.0,
};

fn parts() -> (Arc<MemoryStore>, Arc<MemorySource>) {
    (
        Arc::new(MemoryStore::new(vec![0.0]).unwrap()),
        Arc::new(MemorySource::new(vec![0; 4], 4).unwrap()),
    )
}

fn simulated(worker: Arc<dyn Worker>) -> SimBackend {
    let (store, data) = parts();
    let sim_store = SimStore::Ideal(store);
    SimBackend::functions(worker, sim_store, data, Simulation::lambda(STEP), Seed::new(1)).unwrap()
}

/// The machine has the memory size of the suite's invocations.
fn rented(worker: Arc<dyn Worker>) -> SimBackend {
    let (store, data) = parts();
    let machine = Machine { memory_mb: 1_769, ..Machine::m4_large() };
    SimBackend::machine(worker, store, data, machine, STEP).unwrap()
}

backend_tests!(
    functions,
    backend::Subject::driven(simulated, |sim, future| sim.run(future).unwrap()).swarm(500),
);
backend_tests!(machine, backend::Subject::driven(rented, |sim, future| sim.run(future).unwrap()),);
