//! Facts of a [`Backend`], in two sets.
//!
//! *Remote* facts are for every backend, also for one whose workers run on other machines. They are
//! about reports, kinds of errors, deadlines and bills. The deployed worker is a [`ProbeWorker`],
//! and each invocation selects its behaviour.
//!
//! *Local* facts are for backends whose workers run in this process. Closures make these workers,
//! which communicate with each other and with the test through memory.

mod in_process;
mod local;
mod outcome;
mod probe;
mod swarm;
mod time;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use local::*;
pub use outcome::*;
use probe::Behaviour;
pub use probe::ProbeWorker;
pub use swarm::*;
pub use time::*;

use super::Fact;
use super::drive::{Driven, Driver};
use super::store::plan;
use crate::{Backend, Completion, EpochPlan, Invocation, Requests, Role, Worker};

/// The constructor of the backend under test for local facts, and the options of the suite.
pub struct Subject {
    make: Box<dyn Fn(Arc<dyn Worker>) -> Fixture + Send + Sync>,
    options: Options,
}

/// The constructor of the backend under test for remote facts, and the options of the suite.
pub struct RemoteSubject {
    make: Box<dyn Fn() -> Fixture + Send + Sync>,
    options: Options,
}

#[derive(Clone)]
struct Options {
    swarm: u32,
    nap: Duration,
    plan: EpochPlan,
}

impl Default for Options {
    fn default() -> Self {
        Self { swarm: 32, nap: Duration::from_millis(100), plan: plan(0, 64, 128) }
    }
}

/// The options of both kinds of subjects.
macro_rules! options {
    () => {
        /// Sets the number of simultaneous invocations, at least 8. The default is 32.
        #[must_use]
        pub fn swarm(mut self, invocations: u32) -> Self {
            self.options.swarm = invocations.max(8);
            self
        }

        /// Sets the time for which each of these invocations sleeps. The default is 100 ms. It
        /// should be longer than the start of an invocation.
        #[must_use]
        pub fn nap(mut self, nap: Duration) -> Self {
            self.options.nap = nap;
            self
        }
    };
}

impl Subject {
    /// Tests the backends that `make` creates around a given worker.
    pub fn new<B: Backend + 'static>(
        make: impl Fn(Arc<dyn Worker>) -> B + Send + Sync + 'static,
    ) -> Self {
        Self::driven(make, |_, future| futures::executor::block_on(future))
    }

    /// As [`new`](Self::new), with the function that blocks on futures. With virtual time, `run`
    /// advances the backend's clock.
    pub fn driven<B: Backend + 'static>(
        make: impl Fn(Arc<dyn Worker>) -> B + Send + Sync + 'static,
        run: impl for<'a> Fn(&B, Driven<'a>) + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        let make = Box::new(move |worker| fixture(make(worker), Arc::clone(&run)));
        Self { make, options: Options::default() }
    }

    options!();

    /// This backend around a [`ProbeWorker`], for remote facts.
    #[must_use]
    pub fn remote(self) -> RemoteSubject {
        let Self { make, options } = self;
        RemoteSubject { make: Box::new(move || make(Arc::new(ProbeWorker))), options }
    }

    fn fixture(&self, worker: Arc<dyn Worker>) -> Fixture {
        Fixture { options: self.options.clone(), ..(self.make)(worker) }
    }
}

impl RemoteSubject {
    /// Tests the backends that `make` creates. Their deployed worker is a [`ProbeWorker`].
    pub fn new<B: Backend + 'static>(make: impl Fn() -> B + Send + Sync + 'static) -> Self {
        Self::driven(make, |_, future| futures::executor::block_on(future))
    }

    /// As [`new`](Self::new), with the function that blocks on futures. With virtual time, `run`
    /// advances the backend's clock.
    pub fn driven<B: Backend + 'static>(
        make: impl Fn() -> B + Send + Sync + 'static,
        run: impl for<'a> Fn(&B, Driven<'a>) + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        let make = Box::new(move || fixture(make(), Arc::clone(&run)));
        Self { make, options: Options::default() }
    }

    options!();

    /// Sets the plan of the invocations, for functions that check its layout and its number of
    /// examples. The suite changes the name of the run.
    #[must_use]
    pub fn plan(mut self, plan: EpochPlan) -> Self {
        self.options.plan = plan;
        self
    }

    fn fixture(&self) -> Fixture {
        Fixture { options: self.options.clone(), ..(self.make)() }
    }
}

fn fixture<B: Backend + 'static>(
    backend: B,
    run: Arc<impl for<'a> Fn(&B, Driven<'a>) + Send + Sync + 'static>,
) -> Fixture {
    let backend = Arc::new(backend);
    let driven = Arc::clone(&backend);
    let driver = Driver::new(move |future| run(&driven, future));
    Fixture { backend, driver, options: Options::default() }
}

/// A backend and the function that runs its futures.
struct Fixture {
    backend: Arc<dyn Backend>,
    driver: Driver,
    options: Options,
}

impl Fixture {
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.driver.run(future)
    }

    fn invoke(&self, invocation: Invocation) -> Completion {
        self.run(self.backend.invoke(invocation))
    }

    /// The invocation of a shard, for workers that are made by closures.
    fn invocation(&self, shard: u32, timeout: Duration) -> Invocation {
        Invocation {
            plan: self.options.plan.clone(),
            role: Role::Shard,
            shard,
            position: 1,
            attempt: 2,
            memory_mb: self.backend.platform().memory_at_least(1_769),
            timeout,
            cycle: Some(Duration::from_millis(1)),
            request_cap: Requests { writes: 10, reads: 20 },
        }
    }

    /// The invocation of a shard in which the probe has this behaviour.
    fn probe(&self, behaviour: Behaviour, shard: u32, timeout: Duration) -> Invocation {
        let mut invocation = self.invocation(shard, timeout);
        invocation.plan.run = behaviour.run();
        invocation
    }
}

/// More time than any fact needs, also on a busy machine.
const LONG: Duration = Duration::from_secs(600);

/// All local facts.
pub const LOCAL_FACTS: &[Fact<Subject>] = crate::__local_backend_facts!(__fact_list);

/// All remote facts.
pub const REMOTE_FACTS: &[Fact<RemoteSubject>] = crate::__remote_backend_facts!(__fact_list);

/// Makes a test for each fact, local and remote, of a [`Backend`] whose workers live in this
/// process: `backend_tests!(module_name, subject)`.
///
/// ```text
/// backend_tests!(in_process, backend::Subject::new(|worker| MyBackend::new(worker)));
/// ```
#[macro_export]
macro_rules! backend_tests {
    ($name:ident, $subject:expr $(,)?) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $crate::local_backend_tests!(local, $subject);
            $crate::remote_backend_tests!(remote, $subject.remote());
        }
    };
}

/// Makes a test for each fact of a [`Backend`] that needs workers in this process:
/// `local_backend_tests!(module_name, subject)`.
#[macro_export]
macro_rules! local_backend_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__local_backend_facts!(__fact_tests $name, $subject);
    };
}

/// Makes a test for each fact of a [`Backend`] that does not need workers in this process:
/// `remote_backend_tests!(module_name, subject)`.
///
/// ```text
/// remote_backend_tests!(deployed, backend::RemoteSubject::new(|| MyBackend::connect("probe")));
/// ```
#[macro_export]
macro_rules! remote_backend_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__remote_backend_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __local_backend_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] backend:
            all_invocations_live_at_once
            each_invocation_runs_its_worker_once
            a_dropped_invocation_stops_its_worker
            a_worker_is_dropped_at_its_deadline
            workers_read_the_clock_of_their_backend
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __remote_backend_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] backend:
            a_worker_gets_its_invocation
            a_report_comes_back_as_it_was_made
            an_error_keeps_its_kind_and_message
            a_panic_fails_only_its_invocation
            a_panic_in_a_task_is_an_error_for_its_worker
            a_task_runs_once_and_returns_its_value
            the_driver_computes_too
            a_memory_size_that_does_not_exist_is_refused_and_free

            a_worker_that_never_ends_meets_its_deadline
            a_worker_that_computes_for_ever_meets_its_deadline
            what_is_computed_is_billed
            time_left_runs_down

            many_invocations_run_at_the_same_time
            a_dropped_invocation_leaves_room_for_the_next
            parallelism_is_between_one_and_all
            the_drivers_usage_only_grows
        }
    };
}
