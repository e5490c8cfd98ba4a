//! Sources of examples, and readers of common formats.
//!
//! A [`DataSource`](siren_core::DataSource) feeds the workers. This crate has these sources:
//!
//! | source | examples | bytes in |
//! | --- | --- | --- |
//! | [`MemorySource`] | of one size | memory |
//! | [`RaggedSource`] | of different sizes, such as sentences and sparse vectors | memory |
//! | [`PackedData`] | of one or of different sizes; [`pack`] writes them | a file, or an object of shared storage |
//!
//! Readers turn files, plain or compressed by gzip, into sources in memory. Their errors name the
//! file and, in a text, the line.
//!
//! | format | reader | result | its source |
//! | --- | --- | --- | --- |
//! | IDX, as MNIST has it | [`idx::read_labelled`] | [`MemorySource`] | itself |
//! | CSV: labels and dense features | [`csv::read`] | [`DenseTable`], which [`Standardisation`] scales | [`DenseTable::pack`] |
//! | libsvm: labels and sparse features | [`libsvm::read`] | [`SparseTable`] | [`SparseTable::source`] |
//! | any other | [`open`] unpacks the bytes | a reader of bytes | [`MemorySource::new`], [`RaggedSource::new`] |
//!
//! Batches are contiguous ranges of a source, so shuffle it once, before training or packing. Packed
//! data keeps the order that it was packed in.
//!
//! # Example
//!
//! ```
//! use siren_core::{DataSource, Seed};
//! use siren_data::{Standardisation, csv};
//!
//! let text = "label,height,width\n1,2.0,0.5\n0,4.0,1.5\n1,6.0,2.5\n";
//! let mut table = csv::parse(text.as_bytes(), "a text")?; // `csv::read` reads a file
//! Standardisation::of(&table).apply(&mut table)?;
//! let (train, held_out) = table.pack()?.shuffled(Seed::new(0)).split(2)?;
//! assert_eq!((train.len(), held_out.len()), (2, 1));
//! // An example is its label and two features, as little-endian `f32`.
//! assert_eq!(train.record_len(), 12);
//! # Ok::<(), siren_core::Error>(())
//! ```

pub mod csv;
mod example;
mod file;
pub mod idx;
mod label;
pub mod libsvm;
mod line;
mod memory;
pub mod packed;
mod ragged;
mod standardise;
mod table;

pub use example::{SparseExample, SparseRecord};
pub use file::open;
pub use label::binary_label;
pub use memory::MemorySource;
pub use packed::{PackedData, pack};
pub use ragged::RaggedSource;
pub use standardise::Standardisation;
pub use table::{DenseTable, SparseTable};
