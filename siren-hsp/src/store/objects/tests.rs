//! Tests of the store over objects: its contract, several handles of one store, and faults.

mod conformance;
mod faults;
mod handles;
mod interleaved;
mod noise;
mod pulls;
mod support;
mod workers;

pub(super) use support::plan;
