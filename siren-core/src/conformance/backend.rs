//! Facts of a [`Backend`] whose workers live in this process.
//!
//! The suite's workers need neither store nor data, and meet each other in memory.

mod outcome;
mod probe;
mod swarm;
mod time;

use std::future::Future;
use std::sync::Arc;

pub use outcome::*;
pub use swarm::*;
pub use time::*;

use super::Fact;
use super::drive::{Driven, Driver};
use crate::{Backend, Completion, Invocation, Worker};

/// How to make the backend under test.
pub struct Subject {
    make: Box<dyn Fn(Arc<dyn Worker>) -> Fixture + Send + Sync>,
    swarm: u32,
}

impl Subject {
    /// A backend that `make` makes anew, around a worker.
    pub fn new<B: Backend + 'static>(
        make: impl Fn(Arc<dyn Worker>) -> B + Send + Sync + 'static,
    ) -> Self {
        Self::driven(make, |_, future| futures::executor::block_on(future))
    }

    /// A backend, with `run` to block on futures. A backend of virtual time moves on in `run`.
    pub fn driven<B: Backend + 'static>(
        make: impl Fn(Arc<dyn Worker>) -> B + Send + Sync + 'static,
        run: impl for<'a> Fn(&B, Driven<'a>) + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        Self {
            make: Box::new(move |worker| {
                let backend = Arc::new(make(worker));
                let (run, driven) = (Arc::clone(&run), Arc::clone(&backend));
                Fixture { backend, driver: Driver::new(move |future| run(&driven, future)) }
            }),
            swarm: 32,
        }
    }

    /// Start this many invocations at once (32 by default).
    #[must_use]
    pub fn swarm(mut self, invocations: u32) -> Self {
        self.swarm = invocations.max(2);
        self
    }

    fn fixture(&self, worker: Arc<dyn Worker>) -> Fixture {
        (self.make)(worker)
    }
}

/// A backend, and how to run futures there.
struct Fixture {
    backend: Arc<dyn Backend>,
    driver: Driver,
}

impl Fixture {
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.driver.run(future)
    }

    fn invoke(&self, invocation: Invocation) -> Completion {
        self.run(self.backend.invoke(invocation))
    }
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__backend_facts!(__fact_list);

/// Makes a test for each fact of a [`Backend`]: `backend_tests!(module_name, subject)`.
///
/// ```text
/// backend_tests!(in_process, backend::Subject::new(|worker| MyBackend::new(worker)));
/// ```
#[macro_export]
macro_rules! backend_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__backend_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __backend_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] backend:
            a_worker_gets_its_invocation_and_its_report_comes_back
            an_error_keeps_its_kind
            a_panic_fails_only_its_invocation
            a_panic_in_a_task_is_an_error_for_its_worker
            a_task_runs_once_and_returns_its_value
            the_driver_computes_too

            a_worker_that_never_ends_meets_its_deadline
            a_worker_that_computes_for_ever_meets_its_deadline
            what_is_computed_is_billed
            time_left_runs_down
            workers_read_the_clock_of_their_backend

            all_invocations_live_at_once
            a_dropped_invocation_stops_its_worker
            parallelism_is_between_one_and_all
        }
    };
}
