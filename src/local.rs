use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use siren_backend_local::LocalBackend;
use siren_core::{DataSource, ParameterStore, Platform, Result, Workload};
use siren_hsp::{MemoryStore, ShardWorker, Trainer};

use crate::builder::{BackendParts, TrainerBuilder};

/// Starts a builder for training in this process: parameters in memory, one thread per core, and by
/// default one worker per thread.
///
/// `train` is the training data. `held_out` is the data for the evaluation at every barrier;
/// without it, the mean training loss is used.
///
/// See [`TrainerBuilder`] for an example.
pub fn local(
    workload: Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    held_out: Option<Arc<dyn DataSource>>,
) -> TrainerBuilder<LocalOptions> {
    TrainerBuilder::new(workload, train, held_out, LocalOptions::default())
}

/// Settings of [`local`] training.
#[derive(Default)]
pub struct LocalOptions {
    threads: Option<usize>,
    platform: Option<Platform>,
    store: Option<Arc<dyn ParameterStore>>,
}

impl fmt::Debug for LocalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalOptions")
            .field("threads", &self.threads)
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

impl TrainerBuilder<LocalOptions> {
    /// Sets the number of threads that workers compute on. Default: one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.backend.threads = Some(threads);
        self
    }

    /// Estimates the bill with the limits and prices of another platform. Default:
    /// [`Platform::local`], which has AWS Lambda's prices.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.backend.platform = Some(platform);
        self
    }

    /// Keeps the parameters in `store`, which must already hold the initial ones. Default: a
    /// [`MemoryStore`] with the workload's initial parameters.
    pub fn store(mut self, store: Arc<dyn ParameterStore>) -> Self {
        self.backend.store = Some(store);
        self
    }

    /// Builds the trainer.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Trainer::new`], [`Trainer::resume`] and [`Workload::init`], and
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for 0 threads.
    pub fn build(mut self) -> Result<Trainer> {
        let LocalOptions { threads, platform, store } = std::mem::take(&mut self.backend);
        let store = match store {
            Some(store) => store,
            None => {
                Arc::new(MemoryStore::initialised(&*self.workload, self.effective_config().seed)?)
                    as Arc<dyn ParameterStore>
            }
        };
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = threads.unwrap_or_else(cores);
        let worker = Arc::new(ShardWorker::new(Arc::clone(&self.workload)));
        let train = Arc::clone(&self.train);
        let mut backend =
            LocalBackend::with_threads(worker, Arc::clone(&store), Arc::clone(&train), threads)?;
        if let Some(platform) = platform {
            backend = backend.with_platform(platform);
        }
        let workers = u32::try_from(threads).unwrap_or(u32::MAX);
        self.finish(BackendParts { train, store, backend: Arc::new(backend), workers })
    }
}
