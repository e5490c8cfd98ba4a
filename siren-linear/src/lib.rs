//! Linear models as [workloads](siren_core::Workload), and readers for their data.
//!
//! | features | reader | data source | workload |
//! | --- | --- | --- | --- |
//! | dense | [`csv::read`] | [`DenseTable::pack`] | [`LogisticRegression`] |
//! | sparse | [`libsvm::read`] | [`SparseTable::source`] | [`SparseLogisticRegression`] |
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
//! \[1\], and behind it `weight`, of shape \[features\]: feature i, counted from 0, has parameter i + 1. They
//! start at zero, because the loss is convex: it has no second minimum to fall into. An evaluation
//! measures loss, accuracy (a probability above one half says 1) and AUC.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use siren_core::Seed;
//! use siren_linear::{SparseLogisticRegression, libsvm};
//!
//! # fn main() -> siren_core::Result<()> {
//! let train = libsvm::read("train.libsvm.gz", None)?;
//! // What the training data does not have, the model does not know.
//! let test = libsvm::read("test.libsvm.gz", Some(train.features))?;
//! let workload = Arc::new(SparseLogisticRegression::new(train.features)?);
//! // Batches are contiguous: shuffle once.
//! let source = Arc::new(train.source.shuffled(Seed::new(0)));
//! // `siren::local(workload, source, Some(Arc::new(test.source)), …)` trains it.
//! # let _ = (test, workload, source);
//! # Ok(())
//! # }
//! ```

pub mod csv;
mod dense;
mod example;
pub mod libsvm;
mod line;
mod loss;
mod sparse;
mod standardise;
mod table;

pub use dense::LogisticRegression;
pub use example::SparseExample;
pub use sparse::SparseLogisticRegression;
pub use standardise::Standardisation;
pub use table::{DenseTable, SparseTable};
