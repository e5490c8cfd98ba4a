//! Linear models as [workloads](siren_core::Workload).
//!
//! | features | workload | its data, from [`siren_data`] |
//! | --- | --- | --- |
//! | dense | [`LogisticRegression`] | [`csv::read`](siren_data::csv::read), [`DenseTable::pack`](siren_data::DenseTable::pack) |
//! | sparse | [`SparseLogisticRegression`] | [`libsvm::read`](siren_data::libsvm::read), [`SparseTable::source`](siren_data::SparseTable::source) |
//!
//! Both models are binary logistic regression with a bias. For an example with features x and label
//! y, 0 or 1:
//!
//! ```text
//! score        z = bias + weight · x
//! probability  p = 1 / (1 + exp(-z))
//! loss         l = -y ln p - (1 - y) ln(1 - p)     (log loss, in nats)
//! gradient     dl/dbias = p - y,   dl/dweight = (p - y) x
//! ```
//!
//! Loss and gradient of a batch are means over its examples. The parameters are `bias`, of shape
//! \[1\], followed by `weight`, of shape \[features\]: the parameter of feature i, counted from 0,
//! is parameter `i + 1`. All start at zero, because the loss is convex and has no local minimum to
//! avoid. An evaluation measures loss, accuracy (a probability above one half predicts 1) and AUC.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use siren_core::Seed;
//! use siren_data::libsvm;
//! use siren_linear::SparseLogisticRegression;
//!
//! # fn main() -> siren_core::Result<()> {
//! let train = libsvm::read("train.libsvm.gz", None)?;
//! // The model has the features of the training data.
//! let test = libsvm::read("test.libsvm.gz", Some(train.features))?;
//! let workload = Arc::new(SparseLogisticRegression::new(train.features)?);
//! // Batches are contiguous: shuffle once.
//! let source = Arc::new(train.source.shuffled(Seed::new(0)));
//! // `siren::local(workload, source, Some(Arc::new(test.source)), …)` trains it.
//! # let _ = (test, workload, source);
//! # Ok(())
//! # }
//! ```

mod dense;
mod loss;
mod sparse;

pub use dense::LogisticRegression;
pub use sparse::SparseLogisticRegression;
