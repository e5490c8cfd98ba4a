use std::fmt;
use std::sync::Arc;

use siren_backend_lambda::{LambdaBackend, LambdaSettings};
use siren_core::{DataSource, Result, Workload};
use siren_hsp::{StopHandle, Trainer, TrainingResult};

use crate::builder::{BackendParts, TrainerBuilder};

/// Starts a builder for training on AWS Lambda, by default with four workers.
///
/// `train` is the training data, the same that was uploaded under [`LambdaSettings::data_key`].
/// `held_out` is the data for the evaluation at every barrier; without it, the mean training loss
/// is used. `settings` name the function and the bucket.
///
/// ```no_run
/// # use std::sync::Arc;
/// use siren::{lambda::{LambdaSettings, S3Objects, aws::Aws}, data::PackedData, prelude::*};
///
/// # async fn example(workload: Arc<dyn Workload>, test: Arc<dyn DataSource>) -> Result<()> {
/// let sdk = Aws::default().config().await?;
/// let train = PackedData::open("train.siren").await?; // written by siren::data::pack
/// let bucket = S3Objects::new(&sdk, "my-bucket", "");
/// let key = bucket.upload_data("train.siren", "train").await?;
/// let settings = LambdaSettings::new(sdk, "my-function", "my-bucket", "run-1", key, &*workload);
/// let trainer = siren::lambda::trainer(workload, Arc::new(train), Some(test), settings)
///     .scheduler(FixedScheduler::new(8, 1_792))
///     .build()
///     .await?;
/// println!("{:#?}", trainer.run().await?.outcome);
/// # Ok(())
/// # }
/// ```
pub fn trainer(
    workload: Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    held_out: Option<Arc<dyn DataSource>>,
    settings: LambdaSettings,
) -> TrainerBuilder<OnLambda> {
    TrainerBuilder::new(workload, train, held_out, OnLambda { settings })
}

/// Workers of the default scheduler.
const WORKERS: u32 = 4;

/// Settings of training on AWS Lambda.
pub struct OnLambda {
    settings: LambdaSettings,
}

impl fmt::Debug for OnLambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnLambda")
            .field("function", &self.settings.function)
            .finish_non_exhaustive()
    }
}

impl TrainerBuilder<OnLambda> {
    /// Connects to the function and the bucket, writes the workload's initial parameters to the
    /// store (unless a run is resumed), and builds the trainer. It makes requests, but starts no
    /// worker.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`LambdaBackend::connect`], [`Trainer::new`], [`Trainer::resume`] and
    /// [`Workload::init`].
    pub async fn build(self) -> Result<LambdaTrainer> {
        let lambda = Arc::new(LambdaBackend::connect(self.backend.settings.clone()).await?);
        let store = lambda.store()?;
        if !self.resumes() {
            store.initialise(&*self.workload, self.effective_config().seed).await?;
        }
        let train = Arc::clone(&self.train);
        let backend = Arc::clone(&lambda) as Arc<dyn siren_core::Backend>;
        let parts = BackendParts { train, store: Arc::new(store), backend, workers: WORKERS };
        Ok(LambdaTrainer { trainer: self.finish(parts)?, lambda })
    }
}

/// A trainer on AWS Lambda.
pub struct LambdaTrainer {
    trainer: Trainer,
    lambda: Arc<LambdaBackend>,
}

impl fmt::Debug for LambdaTrainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LambdaTrainer").finish_non_exhaustive()
    }
}

impl LambdaTrainer {
    /// The backend: its bills can be read during and after the run.
    pub fn backend(&self) -> &Arc<LambdaBackend> {
        &self.lambda
    }

    /// A handle that requests the run to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.trainer.stop_handle()
    }

    /// Trains until a stop rule holds.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Trainer::run`].
    pub async fn run(self) -> Result<TrainingResult> {
        self.trainer.run().await
    }
}
