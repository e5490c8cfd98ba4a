//! A correct backend, and wrong ones.

mod threads;

use siren_core::conformance::backend::{self, Subject};
use siren_core::conformance::backend_tests;
use threads::Threads;

use super::bite::faults;

backend_tests!(a_thread_each, Subject::new(|worker| Threads::new(worker, None)));

/// The fault of a backend.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    AcceptsAnyMemory,
    AllErrorsAreLost,
    AnswersForTasks,
    BillsBrokenSteps,
    BillsNothing,
    BillsTwice,
    DropsKeepTheirTurn,
    ForgetsItsUsage,
    ForgetsTheReport,
    HasAClockForItself,
    IgnoresDeadlines,
    IgnoresDrops,
    LeavesWorkersRunning,
    NeverComputes,
    OneAfterAnother,
    PanicsAreSuccess,
    PanicsSpread,
    PermitsForWholeInvocations,
    RunsEveryShardAsTheFirst,
    RunsFailuresAgain,
    StopsEarly,
    TaskPanicsAreLost,
    TimeStandsStill,
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move |worker| Threads::new(worker, Some(fault)))
}

mod local {
    use super::*;

    faults! { backend::LOCAL_FACTS, with_fault;
        invocations_one_after_another: OneAfterAnother => all_invocations_live_at_once;
        permits_for_whole_invocations: PermitsForWholeInvocations => all_invocations_live_at_once;
        failures_that_are_tried_again: RunsFailuresAgain => each_invocation_runs_its_worker_once;
        drops_that_are_ignored: IgnoresDrops => a_dropped_invocation_stops_its_worker;
        workers_that_outlive_their_deadline: LeavesWorkersRunning =>
            a_worker_is_dropped_at_its_deadline;
        workers_with_a_clock_for_themselves: HasAClockForItself =>
            workers_read_the_clock_of_their_backend;
    }
}

mod remote {
    use super::*;

    faults! { backend::REMOTE_FACTS, |fault| with_fault(fault).remote();
        shards_that_are_all_the_first: RunsEveryShardAsTheFirst => a_worker_gets_its_invocation;
        reports_that_are_forgotten: ForgetsTheReport => a_report_comes_back_as_it_was_made;
        errors_that_are_all_lost: AllErrorsAreLost => an_error_keeps_its_kind_and_message;
        panics_that_count_as_success: PanicsAreSuccess => a_panic_fails_only_its_invocation;
        panics_that_spread: PanicsSpread => a_panic_fails_only_its_invocation;
        panics_of_tasks_that_are_lost: TaskPanicsAreLost =>
            a_panic_in_a_task_is_an_error_for_its_worker
            the_driver_computes_too;
        tasks_that_are_not_run: AnswersForTasks =>
            a_task_runs_once_and_returns_its_value
            the_driver_computes_too;
        memory_of_any_size: AcceptsAnyMemory =>
            a_memory_size_that_does_not_exist_is_refused_and_free;
        deadlines_that_are_ignored: IgnoresDeadlines =>
            a_worker_that_never_ends_meets_its_deadline
            a_worker_that_computes_for_ever_meets_its_deadline;
        deadlines_that_come_early: StopsEarly => a_worker_that_never_ends_meets_its_deadline;
        bills_of_twice_the_time: BillsTwice => a_worker_that_never_ends_meets_its_deadline;
        bills_of_nothing: BillsNothing => what_is_computed_is_billed;
        bills_of_broken_steps: BillsBrokenSteps => what_is_computed_is_billed;
        time_that_stands_still: TimeStandsStill => time_left_runs_down;
        invocations_one_after_another: OneAfterAnother => many_invocations_run_at_the_same_time;
        permits_for_whole_invocations: PermitsForWholeInvocations =>
            many_invocations_run_at_the_same_time;
        drops_that_keep_their_turn: DropsKeepTheirTurn =>
            a_dropped_invocation_leaves_room_for_the_next;
        workers_that_never_compute: NeverComputes => parallelism_is_between_one_and_all;
        usage_that_is_forgotten: ForgetsItsUsage => the_drivers_usage_only_grows;
    }
}
