//! The conformance suite passes correct implementations and bites wrong ones.
//!
//! For each contract there is a small correct implementation, written to be read, and a list of
//! ways to get it wrong, each with the facts that must notice.

mod backend;
mod bite;
mod clock;
mod data;
mod objects;
mod scheduler;
mod store;
mod store_decorator;
mod workload;
