//! The computation of one batch of a worker's shard, and the update to push.

use siren_core::{
    Batch, Compression, Gradient, Replica, Result, Seed, SparseGradient, SparseSlice, Workload,
};

use crate::kernel::{self, TopK};

/// The buffers that move between the loop and the compute tasks, so that vectors of the model's
/// size are allocated only once.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) replica: Replica,
    pub(super) bytes: Vec<u8>,
    /// The worker's own copy for local steps; empty without them.
    local: Vec<f32>,
    /// The gradient of one batch, if it is not written to the sum directly.
    gradient: Vec<f32>,
    /// The sum of the gradients since the last push, and of the entries that top-k left out before.
    sum: Vec<f32>,
    /// The gradient of one batch, for workloads with sparse gradients.
    sparse: SparseGradient,
    /// The sum of the sparse gradients since the last push.
    sparse_sum: SparseGradient,
    top_k: TopK,
    form: Form,
}

/// The buffer with the finished sum.
#[derive(Clone, Copy, Default)]
enum Form {
    #[default]
    Dense,
    Sparse,
    TopK,
}

impl Buffers {
    /// The gradient to push after the last step of an update.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the workload returned
    /// an index that the model does not have.
    pub(super) fn gradient(&self) -> Result<Gradient<'_>> {
        let dim = self.replica.values.len();
        let sparse = |entries| SparseSlice::new(dim, entries).map(Gradient::Sparse);
        match self.form {
            Form::Dense => Ok(Gradient::Dense(&self.sum)),
            Form::Sparse => sparse(self.sparse_sum.entries()),
            Form::TopK => sparse(self.top_k.entries()),
        }
    }

    /// The squared norm of the gradient to push.
    fn squared_norm(&self) -> f64 {
        match self.form {
            Form::Dense => kernel::squared_norm(&self.sum),
            Form::Sparse => kernel::squared_norm_of(self.sparse_sum.entries()),
            Form::TopK => kernel::squared_norm_of(self.top_k.entries()),
        }
    }
}

/// One batch within an update.
#[derive(Clone, Copy)]
pub(super) struct BatchStep {
    pub(super) examples: usize,
    pub(super) seed: Seed,
    /// The position among the update's batches.
    pub(super) index: u64,
    pub(super) steps: u64,
    pub(super) rate: f32,
    pub(super) clip_norm: Option<f32>,
    pub(super) compression: Compression,
    /// `true` if the update must contain all entries.
    pub(super) flush: bool,
}

impl BatchStep {
    /// Computes the batch. Returns the mean loss and, after the last step, the squared norm of the
    /// gradient to push.
    pub(super) fn run(self, workload: &dyn Workload, buffers: &mut Buffers) -> Result<(f64, f64)> {
        let dim = buffers.replica.values.len();
        let last = self.index + 1 == self.steps;
        let top_k = match self.compression {
            Compression::None => None,
            Compression::TopK { share } => Some(share),
        };
        let Buffers { replica, bytes, local, gradient, sum, sparse, sparse_sum, .. } = buffers;
        sum.resize(dim, 0.0);
        if self.index == 0 {
            sparse_sum.clear();
            if self.steps > 1 {
                local.clone_from(&replica.values);
            }
        }
        let params = if self.steps > 1 { &*local } else { &replica.values };
        let batch = Batch::new(self.examples, bytes);
        sparse.clear();
        let loss =
            if let Some(loss) = workload.sparse_gradient(params, &batch, self.seed, sparse)? {
                let entries = sparse.as_slice(dim)?.entries();
                if !last {
                    for entry in entries {
                        local[entry.index as usize] -= self.rate * entry.value;
                    }
                }
                buffers.form = Form::Sparse;
                if top_k.is_some() {
                    let scale = self.scale(kernel::squared_norm_of(entries));
                    for entry in entries {
                        sum[entry.index as usize] += scale * entry.value;
                    }
                } else {
                    entries.iter().for_each(|entry| sparse_sum.add(entry.index, entry.value));
                    sparse_sum.merge();
                }
                loss
            } else if self.steps == 1 && top_k.is_none() {
                buffers.form = Form::Dense;
                workload.gradient(params, &batch, self.seed, sum)?
            } else {
                gradient.resize(dim, 0.0);
                let loss = workload.gradient(params, &batch, self.seed, gradient)?;
                if top_k.is_some() {
                    kernel::add(sum, self.scale(kernel::squared_norm(gradient)), gradient);
                } else if self.index == 0 {
                    sum.copy_from_slice(gradient);
                } else {
                    kernel::add(sum, 1.0, gradient);
                }
                if !last {
                    kernel::descend(local, self.rate, gradient);
                }
                buffers.form = Form::Dense;
                loss
            };
        if !last {
            return Ok((loss, 0.0));
        }
        if let Some(share) = top_k {
            // Pushed entries are taken out of the sum; the rest stays for the next update.
            buffers.form = Form::TopK;
            let share = if self.flush { 1.0 } else { share };
            buffers.top_k.take(share, &mut buffers.sum);
        }
        Ok((loss, buffers.squared_norm()))
    }

    /// The clipping factor of a batch's gradient, applied before entries are left out.
    fn scale(&self, squared_norm: f64) -> f32 {
        kernel::clip_scale(self.clip_norm, 1, squared_norm)
    }
}
