//! The store over objects: its contract, several handles of one store, and what may go wrong.

mod conformance;
mod faults;
mod handles;
mod interleaved;
mod support;

pub(super) use support::plan;
