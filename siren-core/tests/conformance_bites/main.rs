//! The conformance suites accept correct implementations and find the faults of wrong ones.
//!
//! For each contract there is a small and simple correct implementation, and a list of faults, each
//! with the facts that must find it.

mod backend;
mod bite;
mod clock;
mod data;
mod objects;
mod scheduler;
mod store;
mod store_decorator;
mod workload;
