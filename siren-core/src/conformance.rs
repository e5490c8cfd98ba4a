//! Test suites for implementations of the contracts (feature `conformance`).
//!
//! Each module is about one trait. Its `Subject` makes the implementation under test. Every other
//! public function is a *fact*: a property of the contract, which panics when the subject does not
//! have it. A macro makes a `#[test]` for each fact, whose name is the property that failed:
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
//! The suites need no async runtime. For an implementation that needs one, `Subject::driven` takes
//! a function that blocks on a future, for instance `|future| runtime().block_on(future)`. Several
//! threads may call it at once. For a backend or a clock, the function also gets the implementation
//! itself, since it must advance virtual time. The default is [`futures::executor::block_on`].
//!
//! Decorators are implementations too: run the suites for each of them. A store around another one
//! must also have the facts of [`store_decorator`]. The tests of this crate check that the suites
//! find the faults of deliberately wrong implementations.

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
