//! Backends: a correct one, and every way to get it wrong.

mod threads;

use siren_core::conformance::backend::{self, Subject};
use siren_core::conformance::backend_tests;
use threads::Threads;

use super::bite::faults;

backend_tests!(a_thread_each, Subject::new(|worker| Threads::new(worker, None)));

/// What is wrong with a backend.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    AllErrorsAreLost,
    AnswersForTasks,
    BillsBrokenSteps,
    BillsNothing,
    HasAClockForItself,
    IgnoresDeadlines,
    IgnoresDrops,
    OneAfterAnother,
    PanicsAreSuccess,
    PanicsSpread,
    PermitsForWholeInvocations,
    RunsEveryShardAsTheFirst,
    StopsEarly,
    TimeStandsStill,
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move |worker| Threads::new(worker, Some(fault)))
}

faults! { backend::FACTS, with_fault;
    invocations_one_after_another: OneAfterAnother => all_invocations_live_at_once;
    permits_for_whole_invocations: PermitsForWholeInvocations => all_invocations_live_at_once;
    deadlines_that_are_ignored: IgnoresDeadlines =>
        a_worker_that_never_ends_meets_its_deadline
        a_worker_that_computes_for_ever_meets_its_deadline;
    deadlines_that_come_early: StopsEarly => a_worker_that_never_ends_meets_its_deadline;
    drops_that_are_ignored: IgnoresDrops => a_dropped_invocation_stops_its_worker;
    panics_that_count_as_success: PanicsAreSuccess => a_panic_fails_only_its_invocation;
    panics_that_spread: PanicsSpread => a_panic_fails_only_its_invocation;
    errors_that_are_all_lost: AllErrorsAreLost => an_error_keeps_its_kind;
    tasks_that_are_not_run: AnswersForTasks =>
        a_task_runs_once_and_returns_its_value
        the_driver_computes_too;
    bills_of_nothing: BillsNothing => what_is_computed_is_billed;
    bills_of_broken_steps: BillsBrokenSteps => what_is_computed_is_billed;
    time_that_stands_still: TimeStandsStill => time_left_runs_down;
    workers_with_a_clock_for_themselves: HasAClockForItself =>
        workers_read_the_clock_of_their_backend;
    shards_that_are_all_the_first: RunsEveryShardAsTheFirst =>
        a_worker_gets_its_invocation_and_its_report_comes_back;
}
