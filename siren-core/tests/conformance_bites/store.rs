//! A correct store, and wrong ones.

mod optimizer;
pub(crate) mod reference;

use std::future::poll_fn;
use std::task::Poll;

use reference::Reference;
use siren_core::conformance::store::{self, Subject};
use siren_core::conformance::store_tests;

use super::bite::faults;

store_tests!(reference_store, Subject::new(|dim| async move { Reference::new(dim) }));

/// The fault of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    AdagradForgetsOldSquares,
    AdagradForgetsTheInitialSum,
    AdamForgetsItsAge,
    AdamWAddsDecayToTheGradient,
    AdamWDecaysWithoutTheRate,
    AnyLengthFits,
    AnyNumberOfBatchesFits,
    AnyNumberOfExamplesFits,
    AnyPositionFits,
    BulkAddsUp,
    BulkAppliesAtOnce,
    BulkCountsEveryUpdate,
    BulkForgetsTheExamples,
    BulkMeasuresEightUpdates,
    BulkTakesLaterRounds,
    ClipForgetsTheBatches,
    ClipsTopK,
    ClipScalesUp,
    CountsAfterAWait,
    DecayIsClipped,
    DuplicatesCountTwice,
    FinishedShardsHoldUp,
    GapsAreAccepted,
    LatePullsAreServed,
    LatePushesApply,
    MeasuringShortensSteps,
    MomentumIsDampened,
    NesterovIsAHeavyBall,
    NothingIsChecked,
    OpenStartsAgain,
    OpenTakesAnyPlan,
    ProgressCountsBatches,
    PullCopiesEverything,
    PullIgnoresProgress,
    PullKeepsAStaleBlock,
    PullPromisesTooMuch,
    PullTearsBlocks,
    PushLeavesPullsWaiting,
    ReplicasSurviveARestore,
    RestoreForgetsNoise,
    RestoreForgetsSlots,
    RestoreForgetsTheVersion,
    RestoreKeepsTheOpenEpoch,
    RestoreKeepsTheRound,
    RestoreTakesAnything,
    ProgressSumsTheFactors,
    RuleIgnoresStaleness,
    RuleIgnoresTheOptimizer,
    RuleIsIgnored,
    RuleShortensASingleWorker,
    SealDropsTheOpenRound,
    SealIsOffByOne,
    SealLeavesPullsWaiting,
    SealedEpochsOpenAgain,
    SealsOnlyOnce,
    SnapshotsAnOpenEpoch,
    SparseLeavesTheOthersAlone,
    SparseLosesItsLastEntry,
    StalenessCountsItself,
    TheLastEntryIsLeftOut,
    WindowsSpanBarriers,
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move |dim| async move { Reference::with_fault(dim, fault) }).pushes(100)
}

faults! { store::FACTS, with_fault;
    an_open_that_starts_again: OpenStartsAgain =>
        open_is_idempotent another_plan_for_an_open_epoch_is_a_conflict;
    an_open_that_takes_any_plan: OpenTakesAnyPlan => an_unsound_plan_is_rejected;
    sealed_epochs_that_open_again: SealedEpochsOpenAgain => a_sealed_epoch_does_not_open_again;
    a_seal_that_works_only_once: SealsOnlyOnce =>
        seal_is_idempotent a_cancelled_seal_can_be_repeated;
    a_seal_that_reports_a_batch_too_many: SealIsOffByOne =>
        the_seal_reports_what_was_pushed eight_threads_lose_no_push
        a_seal_among_pushes_reports_exactly_what_counted;
    a_seal_that_leaves_pulls_waiting: SealLeavesPullsWaiting => a_seal_ends_a_waiting_pull;

    duplicates_that_count_twice: DuplicatesCountTwice =>
        push_is_idempotent a_shard_resumed_elsewhere_counts_every_batch_once
        threads_that_push_the_same_update_count_it_once;
    gaps_that_are_accepted: GapsAreAccepted => an_update_above_the_watermark_is_a_conflict;
    late_pushes_that_apply: LatePushesApply =>
        a_late_push_never_changes_sealed_parameters
        a_seal_among_pushes_reports_exactly_what_counted;
    parameters_that_are_touched_before_the_norm_is_checked: NothingIsChecked =>
        an_update_that_is_not_finite_changes_nothing;
    gradients_of_any_length: AnyLengthFits => an_update_that_does_not_fit_changes_nothing;
    updates_of_any_number_of_batches: AnyNumberOfBatchesFits =>
        an_update_that_does_not_fit_changes_nothing;
    updates_of_any_number_of_examples: AnyNumberOfExamplesFits =>
        an_update_that_does_not_fit_changes_nothing;
    updates_at_any_position: AnyPositionFits => an_update_that_does_not_fit_changes_nothing;
    staleness_that_counts_the_update_itself: StalenessCountsItself =>
        staleness_is_counted_in_updates;
    a_push_that_counts_after_a_wait: CountsAfterAWait => a_cancelled_push_is_all_or_nothing;

    pulls_that_copy_everything: PullCopiesEverything =>
        a_pull_copies_only_what_changed a_pull_brings_the_sealed_parameters;
    pulls_that_keep_a_stale_block: PullKeepsAStaleBlock =>
        a_pull_brings_the_sealed_parameters a_cancelled_pull_can_be_repeated;
    pulls_that_promise_too_much: PullPromisesTooMuch =>
        a_pull_brings_the_sealed_parameters a_pull_among_pushes_is_atomic_per_block;
    pulls_that_tear_blocks: PullTearsBlocks => a_pull_among_pushes_is_atomic_per_block;
    pulls_that_are_served_late: LatePullsAreServed => a_pull_outside_an_open_epoch_fails;
    pulls_that_ignore_progress: PullIgnoresProgress =>
        a_pull_waits_for_progress a_finished_shard_is_past_every_round
        a_round_of_bulk_is_applied_as_its_mean_when_all_have_pushed
        a_dead_worker_holds_up_the_others_until_its_shard_is_tried_again
        threads_in_bulk_see_every_round_whole threads_are_never_further_ahead_than_the_bound;
    progress_that_counts_batches: ProgressCountsBatches => a_pull_waits_for_progress;
    pushes_that_leave_pulls_waiting: PushLeavesPullsWaiting => a_pull_waits_for_progress;
    finished_shards_that_hold_up_others: FinishedShardsHoldUp =>
        a_finished_shard_is_past_every_round;

    a_gradient_without_its_last_entry: TheLastEntryIsLeftOut =>
        sgd_subtracts_the_rate_times_the_gradient clipping_allows_every_batch_the_limit;
    clipping_that_forgets_the_batches: ClipForgetsTheBatches =>
        clipping_allows_every_batch_the_limit;
    clipping_of_what_top_k_kept: ClipsTopK => updates_of_top_k_are_not_clipped;
    clipping_that_scales_up: ClipScalesUp => clipping_allows_every_batch_the_limit;
    decay_that_is_clipped: DecayIsClipped =>
        weight_decay_is_added_after_clipping adamw_decays_parameters_apart_from_the_gradient;
    momentum_that_is_dampened: MomentumIsDampened => momentum_accumulates_a_velocity;
    nesterov_that_is_a_heavy_ball: NesterovIsAHeavyBall =>
        nesterov_looks_ahead a_rule_carries_its_state_into_the_next_epoch;
    adagrad_that_forgets_old_squares: AdagradForgetsOldSquares =>
        adagrad_divides_by_the_root_of_all_squares a_rule_carries_its_state_into_the_next_epoch;
    adagrad_that_forgets_the_initial_sum: AdagradForgetsTheInitialSum =>
        adagrad_divides_by_the_root_of_all_squares;
    adam_that_forgets_its_age: AdamForgetsItsAge =>
        adam_corrects_its_bias adamw_decays_parameters_apart_from_the_gradient
        a_rule_carries_its_state_into_the_next_epoch;
    adamw_that_adds_decay_to_the_gradient: AdamWAddsDecayToTheGradient =>
        adamw_decays_parameters_apart_from_the_gradient;
    adamw_that_decays_without_the_rate: AdamWDecaysWithoutTheRate =>
        adamw_decays_parameters_apart_from_the_gradient;

    bulk_that_applies_each_update_at_once: BulkAppliesAtOnce =>
        a_round_of_bulk_is_applied_as_its_mean_when_all_have_pushed
        a_round_of_bulk_is_one_update_of_the_rule a_restore_drops_the_open_round
        threads_in_bulk_see_every_round_whole;
    bulk_that_adds_updates_up: BulkAddsUp =>
        a_round_of_bulk_is_applied_as_its_mean_when_all_have_pushed bulk_clips_each_update
        a_round_of_bulk_is_one_update_of_the_rule a_seal_applies_a_round_that_is_not_complete;
    bulk_that_forgets_the_examples: BulkForgetsTheExamples => bulk_weighs_updates_by_their_examples;
    bulk_that_counts_every_update: BulkCountsEveryUpdate =>
        a_round_of_bulk_is_one_update_of_the_rule a_finished_shard_leaves_the_rounds_to_the_others;
    bulk_that_takes_later_rounds: BulkTakesLaterRounds =>
        an_update_of_a_later_round_is_a_conflict;
    a_seal_that_drops_the_open_round: SealDropsTheOpenRound =>
        a_seal_applies_a_round_that_is_not_complete
        a_seal_among_rounds_reports_exactly_what_counted;
    a_restore_that_keeps_the_round: RestoreKeepsTheRound => a_restore_drops_the_open_round;

    sparse_updates_that_leave_velocities_alone: SparseLeavesTheOthersAlone =>
        a_sparse_update_is_the_dense_one_with_zeros;
    sparse_updates_without_their_last_entry: SparseLosesItsLastEntry =>
        a_sparse_update_is_the_dense_one_with_zeros a_sparse_update_is_pulled;

    a_rule_that_is_ignored: RuleIsIgnored => the_rule_follows_the_noise_of_earlier_windows;
    a_rule_without_the_optimizer: RuleIgnoresTheOptimizer => the_optimizer_decides_the_factor;
    progress_that_sums_the_factors: ProgressSumsTheFactors =>
        the_rule_follows_the_noise_of_earlier_windows;
    a_rule_without_staleness: RuleIgnoresStaleness =>
        the_rule_follows_the_noise_of_earlier_windows;
    a_rule_for_a_single_worker: RuleShortensASingleWorker =>
        the_rule_leaves_alone_what_the_rate_was_chosen_for;
    measuring_that_shortens_steps: MeasuringShortensSteps => measuring_noise_changes_no_bit;
    windows_that_span_barriers: WindowsSpanBarriers =>
        the_rule_follows_the_noise_of_earlier_windows;
    a_restore_without_noise: RestoreForgetsNoise => a_snapshot_has_the_averages_of_the_noise;
    bulk_with_windows_of_eight_updates: BulkMeasuresEightUpdates =>
        bulk_measures_the_noise_of_each_round;

    snapshots_of_an_open_epoch: SnapshotsAnOpenEpoch => a_snapshot_of_an_open_epoch_is_a_conflict;
    a_restore_without_slots: RestoreForgetsSlots => snapshot_and_restore_round_trip;
    a_restore_without_the_version: RestoreForgetsTheVersion => snapshot_and_restore_round_trip;
    a_restore_that_keeps_the_open_epoch: RestoreKeepsTheOpenEpoch =>
        a_restore_drops_the_open_epoch;
    a_restore_that_takes_anything: RestoreTakesAnything =>
        a_refused_restore_leaves_the_store_as_it_was;
    replicas_that_survive_a_restore: ReplicasSurviveARestore =>
        a_pull_after_a_restore_brings_the_restored_parameters;
}

/// Lets all other ready futures run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut yielded, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}
