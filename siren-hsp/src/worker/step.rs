//! One batch of a worker's shard, and what it leaves to push.

use siren_core::{
    Batch, Compression, Error, Gradient, Replica, Result, Seed, SparseGradient, SparseSlice,
    Workload,
};

use crate::kernel::{self, TopK};

/// What travels between the loop and the tasks that compute: moved there and back, so that nothing
/// is allocated once warm.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) replica: Replica,
    pub(super) bytes: Vec<u8>,
    /// The worker's own copy for local steps; empty without them.
    local: Vec<f32>,
    /// The gradient of one batch, where it is not written to the sum at once.
    gradient: Vec<f32>,
    /// The sum of the gradients since the last push, and whatever top-k left out before.
    sum: Vec<f32>,
    /// The gradient of one batch of a workload that has sparse ones.
    sparse: SparseGradient,
    /// The sum of these since the last push.
    sparse_sum: SparseGradient,
    top_k: TopK,
    form: Form,
}

/// Where the finished sum is.
#[derive(Clone, Copy, Default)]
enum Form {
    #[default]
    Dense,
    Sparse,
    TopK,
}

impl Buffers {
    /// What is to be pushed after the last step of an update.
    ///
    /// # Errors
    ///
    /// Rejected when a workload gave an index that the model does not have.
    pub(super) fn gradient(&self) -> Result<Gradient<'_>> {
        let dim = self.replica.values.len();
        let sparse = |entries| SparseSlice::new(dim, entries).map(Gradient::Sparse);
        match self.form {
            Form::Dense => Ok(Gradient::Dense(&self.sum)),
            Form::Sparse => sparse(self.sparse_sum.entries()),
            Form::TopK => sparse(self.top_k.entries()),
        }
    }

    /// The squared norm of what is to be pushed.
    fn squared_norm(&self) -> f64 {
        let entries = match self.form {
            Form::Dense => return kernel::squared_norm(&self.sum),
            Form::Sparse => self.sparse_sum.entries(),
            Form::TopK => self.top_k.entries(),
        };
        entries.iter().map(|entry| f64::from(entry.value).powi(2)).sum()
    }
}

/// One batch within an update.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) examples: usize,
    pub(super) seed: Seed,
    /// Where it stands among the update's batches.
    pub(super) index: u64,
    pub(super) of: u64,
    pub(super) rate: f32,
    pub(super) compression: Compression,
    /// Whether the update is the shard's last one, which leaves nothing out.
    pub(super) flush: bool,
}

impl Step {
    /// The mean loss, and after the last step the squared norm of what is to be pushed.
    pub(super) fn run(self, workload: &dyn Workload, buffers: &mut Buffers) -> Result<(f64, f64)> {
        let dim = buffers.replica.values.len();
        let last = self.index + 1 == self.of;
        let top_k = match self.compression {
            Compression::TopK { share } => Some(share),
            _ => None,
        };
        let Buffers { replica, bytes, local, gradient, sum, sparse, sparse_sum, .. } = buffers;
        sum.resize(dim, 0.0);
        if self.index == 0 {
            sparse_sum.clear();
            if self.of > 1 {
                local.clone_from(&replica.values);
            }
        }
        let params = if self.of > 1 { &*local } else { &replica.values };
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
                for entry in entries {
                    match top_k {
                        Some(_) => sum[entry.index as usize] += entry.value,
                        None => sparse_sum.add(entry.index, entry.value),
                    }
                }
                sparse_sum.merge();
                loss
            } else if self.of == 1 && top_k.is_none() {
                buffers.form = Form::Dense;
                workload.gradient(params, &batch, self.seed, sum)?
            } else {
                gradient.resize(dim, 0.0);
                let loss = workload.gradient(params, &batch, self.seed, gradient)?;
                if self.index == 0 && top_k.is_none() {
                    sum.copy_from_slice(gradient);
                } else {
                    kernel::add(sum, gradient);
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
            buffers.form = if self.flush { Form::Dense } else { Form::TopK };
            if !self.flush {
                buffers.top_k.take(share, &mut buffers.sum);
            }
        }
        Ok((loss, buffers.squared_norm()))
    }
}

/// Sparse gradients that name parameters by 32 bits are of models with no more than that.
///
/// # Errors
///
/// Rejected when the model has more parameters.
pub(super) fn check_dim(dim: usize) -> Result<()> {
    if u32::try_from(dim).is_ok() {
        return Ok(());
    }
    Err(Error::rejected(format!(
        "top-k with {dim} parameters: it names each by 32 bits, so push dense gradients instead"
    )))
}
