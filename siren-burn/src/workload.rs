//! A workload from a learner.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use burn::module::Module;
use burn::tensor::Device;
use siren_core::{Batch, Better, Error, Evaluation, Layout, Metrics, Result, Seed, Workload};

use crate::{Learner, Measure, flat, weights};

/// The whole process shares burn's generator. Seeding it and drawing initial parameters from it
/// must not be interrupted by another thread that does the same.
static INIT: Mutex<()> = Mutex::new(());

/// A [`Learner`] as a [`Workload`], on burn's flex backend.
///
/// Worker threads share one workload. Each gradient is computed on the calling thread, with a
/// separate module, and its bits do not depend on other threads.
///
/// The [crate's documentation](crate) has an example.
pub struct BurnWorkload<L: Learner> {
    learner: L,
    layout: Layout,
    // A module need not be `Sync`; clones are cheap and share their tensors.
    training: Mutex<L::Module>,
    inference: Mutex<L::Module>,
}

impl<L: Learner> BurnWorkload<L> {
    /// Makes a workload, and a module to learn the layout from.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the module has state
    /// that no gradient trains (batch normalisation, frozen weights, integers), draws random
    /// numbers itself (dropout), has a parameter that is not `f32`, has one parameter in two
    /// places, or has no parameter. The message names it.
    pub fn new(learner: L) -> Result<Self> {
        let (module, layout, _) = initialise(&learner, Seed::new(0))?;
        Ok(Self {
            learner,
            layout,
            inference: Mutex::new(module.valid()),
            training: Mutex::new(module),
        })
    }

    /// The learner.
    pub fn learner(&self) -> &L {
        &self.learner
    }

    /// The module with these parameters, for inference; `.train()` makes it trainable by burn.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the length of `params`
    /// is not [`dim`](Workload::dim).
    pub fn module(&self, params: &[f32]) -> Result<L::Module> {
        self.check(params)?;
        let template = lock(&self.inference).clone();
        flat::place(template, params, &Device::flex())
    }

    /// Writes parameters to a safetensors file: [`save`](crate::save) with this layout.
    ///
    /// # Errors
    ///
    /// As [`save`](crate::save).
    pub fn save(&self, params: &[f32], path: impl AsRef<Path>) -> Result<()> {
        weights::save(&self.layout, params, path)
    }

    /// Reads parameters from a safetensors file: [`load`](crate::load) with this layout.
    /// [`module`](Self::module) makes a burn module from them.
    ///
    /// # Errors
    ///
    /// As [`load`](crate::load).
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        weights::load(&self.layout, path)
    }

    fn check(&self, params: &[f32]) -> Result<()> {
        let dim = self.layout.dim();
        if params.len() != dim {
            return Err(Error::rejected(format!(
                "the module has {dim} parameters, not {}: pass a vector of its layout",
                params.len()
            )));
        }
        Ok(())
    }

    fn tensors(&self, batch: &Batch<'_>, device: &Device) -> Result<L::Batch> {
        if batch.examples == 0 {
            return Err(Error::rejected("the batch has no examples: pass at least one"));
        }
        self.learner.batch(batch, device)
    }
}

impl<L: Learner> Workload for BurnWorkload<L> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        let (_, layout, values) = initialise(&self.learner, seed)?;
        if layout != self.layout {
            return Err(Error::rejected(
                "the learner made a module with other parameters than before: Learner::init must \
                 make the same ones every time",
            ));
        }
        Ok(values)
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        self.check(params)?;
        self.check(gradient)?;
        let device = Device::flex().autodiff();
        let tensors = self.tensors(batch, &device)?;
        let template = lock(&self.training).clone();
        let module = flat::place(template, params, &device)?;
        let loss = self.learner.training_loss(&module, tensors, seed);
        if loss.shape().num_elements() != 1 {
            return Err(Error::rejected(format!(
                "the loss has shape {:?}: take its mean over the batch",
                loss.dims()
            )));
        }
        if !loss.is_tracked() {
            return Err(Error::rejected(
                "the loss depends on no parameter: compute it with the module that is passed in",
            ));
        }
        let gradients = loss.backward();
        flat::gather(&module, gradients, gradient)?;
        let value = loss.inner().into_data().iter::<f64>().next();
        Ok(value.unwrap_or(f64::NAN))
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let module = self.module(params)?;
        let tensors = self.tensors(batch, &Device::flex())?;
        let mut measure = Measure::new(metrics, batch.examples as u64);
        self.learner.evaluate(&module, tensors, &mut measure);
        Ok(())
    }

    fn finish(&self, metrics: &Metrics) -> Evaluation {
        self.learner.finish(metrics)
    }

    fn better(&self, metric: &str) -> Better {
        self.learner.better(metric)
    }
}

impl<L: Learner> fmt::Debug for BurnWorkload<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurnWorkload").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A new module with its layout and values. burn draws a parameter when it is first accessed, so
/// all are accessed in order before the lock is released.
fn initialise<L: Learner>(learner: &L, seed: Seed) -> Result<(L::Module, Layout, Vec<f32>)> {
    let _alone = lock(&INIT);
    let device = Device::flex().autodiff();
    device.seed(seed.get());
    let module = learner.init(&device);
    let (layout, values) = flat::flatten(&module)?;
    Ok((module, layout, values))
}

/// A panic in a user's module leaves no broken state behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
