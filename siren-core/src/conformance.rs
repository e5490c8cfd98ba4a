//! What every implementation of a contract must satisfy, as tests (feature `conformance`).
//!
//! Each module is about one trait: a `Subject` says how to make the implementation under test, and
//! every other public function is a *fact*, which panics when the subject does not satisfy it. A
//! macro makes one `#[test]` per fact, so that a failure reads as the sentence that does not hold:
//!
//! ```text
//! use siren_core::conformance::{store, store_tests};
//!
//! store_tests!(in_memory, store::Subject::new(|dim| async move { MyStore::new(dim) }));
//!
//! test in_memory::push_is_idempotent ... ok
//! test in_memory::a_late_push_never_changes_sealed_parameters ... ok
//! ```
//!
//! | trait | subject | macro |
//! | --- | --- | --- |
//! | [`ParameterStore`](crate::ParameterStore) | [`store::Subject`] | [`store_tests!`] |
//! | [`Objects`](crate::objects::Objects) | [`objects::Subject`] | [`objects_tests!`] |
//! | [`StoreDecorator`](crate::StoreDecorator) | [`store_decorator::Subject`] | [`store_decorator_tests!`] |
//! | [`Workload`](crate::Workload) | [`workload::Subject`] | [`workload_tests!`] |
//! | [`DataSource`](crate::DataSource) | [`data::Subject`] | [`data_tests!`] |
//! | [`Backend`](crate::Backend) in this process | [`backend::Subject`] | [`backend_tests!`] |
//! | [`Backend`](crate::Backend) elsewhere | [`backend::RemoteSubject`] | [`remote_backend_tests!`] |
//! | [`Scheduler`](crate::Scheduler) | [`scheduler::Subject`] | [`scheduler_tests!`] |
//! | [`Clock`](crate::Clock) | [`clock::Subject`] | [`clock_tests!`] |
//!
//! The suite needs no async runtime. Where an implementation does, `Subject::driven` takes the
//! function that blocks on a future, for instance `|future| runtime().block_on(future)`; it may be
//! called by several threads at once. That of a backend or a clock is given the subject too, since
//! virtual time moves on in there. Without it, [`futures::executor::block_on`] is used.
//!
//! Decorators are implementations too: run the suite over each of them. A store around another one
//! also has the facts of [`store_decorator`]. The suite's own tests hold
//! deliberately wrong implementations against it and see it bite.

pub mod backend;
pub mod clock;
pub mod data;
mod drive;
mod fact;
pub mod objects;
pub mod scheduler;
pub mod store;
pub mod store_decorator;
pub mod workload;

pub use drive::Driven;
pub use fact::{FACT_TIMEOUT, Fact};

#[doc(inline)]
pub use crate::{
    backend_tests, clock_tests, data_tests, local_backend_tests, objects_tests,
    remote_backend_tests, scheduler_tests, store_decorator_tests, store_tests, workload_tests,
};
