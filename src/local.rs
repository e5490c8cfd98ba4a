use std::sync::Arc;

use crate::{
    Config, DataSource, LocalBackend, MemoryStore, Result, Scheduler, ShardWorker, Trainer,
    TrainerParts, Workload,
};

/// A trainer on this machine: a store in memory with the workload's initial parameters, a thread for
/// every core, and as many workers on them as `scheduler` asks for.
///
/// # Errors
///
/// As [`Trainer::new`]; also what the workload answers when its parameters are made.
pub fn local(
    workload: Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    held_out: Option<Arc<dyn DataSource>>,
    scheduler: impl Scheduler + 'static,
    config: Config,
) -> Result<Trainer> {
    let store = Arc::new(MemoryStore::initialised(&*workload, config.seed)?);
    let worker = Arc::new(ShardWorker::new(Arc::clone(&workload)));
    let backend = Arc::new(LocalBackend::new(worker, store.clone(), Arc::clone(&train))?);
    let parts =
        TrainerParts { workload, train, held_out, store, backend, scheduler: Box::new(scheduler) };
    Trainer::new(parts, config)
}
