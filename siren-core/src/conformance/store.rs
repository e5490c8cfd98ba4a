//! Facts of a [`ParameterStore`].
//!
//! In most of them every push adds one to every parameter, so that the value of a parameter is its
//! number of updates. The facts check the effect of a push at the points at which it must be
//! visible: in summaries, at the barrier, and in the next epoch.

mod cancel;
mod epoch;
mod lifecycle;
mod noise;
mod optimizer;
mod pull;
mod push;
mod rounds;
mod snapshot;
mod sparse;
mod threads;

use std::future::Future;
use std::pin::Pin;

pub use cancel::*;
pub(super) use epoch::plan;
use epoch::{Epoch, ONE_MORE, refused};
pub use lifecycle::*;
pub use noise::*;
pub use optimizer::*;
pub use pull::*;
pub use push::*;
pub use rounds::*;
pub use snapshot::*;
pub use sparse::*;
pub use threads::*;

use super::Fact;
use super::drive::{Driven, Driver};
use crate::{ParameterStore, Snapshot};

type Making = Pin<Box<dyn Future<Output = Box<dyn ParameterStore>>>>;

/// The constructor of the store under test, and the options of the suite.
pub struct Subject {
    make: Box<dyn Fn(usize) -> Making + Send + Sync>,
    driver: Driver,
    dim: usize,
    pushes: u64,
    knows_staleness: bool,
}

impl Subject {
    /// Tests the stores that `make` creates for a given number of parameters. The facts first
    /// restore the parameters that they need. Make the store's blocks small, so that it has
    /// several.
    pub fn new<S, F>(make: impl Fn(usize) -> F + Send + Sync + 'static) -> Self
    where
        S: ParameterStore + 'static,
        F: Future<Output = S> + 'static,
    {
        Self {
            make: Box::new(move |dim| {
                let making = make(dim);
                Box::pin(async move { Box::new(making.await) as Box<dyn ParameterStore> })
            }),
            driver: Driver::default(),
            dim: 100,
            pushes: 1_000,
            knows_staleness: true,
        }
    }

    /// Sets the function that blocks on futures. It is called on any thread.
    #[must_use]
    pub fn driven(mut self, run: impl for<'a> Fn(Driven<'a>) + Send + Sync + 'static) -> Self {
        self.driver = Driver::new(run);
        self
    }

    /// Sets the number of parameters, at least 2. The default is 100.
    #[must_use]
    pub fn dim(mut self, dim: usize) -> Self {
        self.dim = dim.max(2);
        self
    }

    /// Sets the number of pushes of each thread of a test. The default is 1,000.
    #[must_use]
    pub fn pushes(mut self, pushes: u64) -> Self {
        self.pushes = pushes.max(1);
        self
    }

    /// Declares that the store cannot know the order in which updates are applied. The staleness
    /// that it reports may then differ from the exact one.
    #[must_use]
    pub fn staleness_is_estimated(mut self) -> Self {
        self.knows_staleness = false;
        self
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.driver.run(future)
    }

    /// A new store whose parameters are zero.
    async fn store(&self) -> Box<dyn ParameterStore> {
        self.store_at(&vec![0.0; self.dim]).await
    }

    /// A new store with these parameters.
    async fn store_at(&self, values: &[f32]) -> Box<dyn ParameterStore> {
        let store = (self.make)(values.len()).await;
        assert_eq!(store.dim(), values.len(), "the number of parameters");
        let initial = Snapshot::initial(values.to_vec());
        store.restore(&initial).await.expect("restore a new store");
        store
    }

    /// A new store whose parameters are zero, with an epoch open.
    async fn open(&self, epoch: &Epoch) -> Box<dyn ParameterStore> {
        let store = self.store().await;
        store.open(&epoch.plan).await.expect("open the first epoch");
        store
    }

    /// The gradient that adds one to every parameter at a learning rate of one.
    fn one_more(&self) -> Vec<f32> {
        vec![ONE_MORE; self.dim]
    }
}

/// Panics unless every parameter has the expected value.
#[track_caller]
fn all_equal(values: &[f32], expected: f32, what: &str) {
    if let Some(entry) = values.iter().position(|&value| value != expected) {
        panic!("{what}: parameter {entry} is {}, not {expected}", values[entry]);
    }
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__store_facts!(__fact_list);

/// Makes a test for each fact of a [`ParameterStore`]: `store_tests!(module_name, subject)`.
///
/// ```text
/// store_tests!(in_memory, store::Subject::new(|dim| async move { MyStore::new(dim) }));
/// ```
#[macro_export]
macro_rules! store_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__store_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] store:
            open_is_idempotent
            an_unsound_plan_is_rejected
            another_plan_for_an_open_epoch_is_a_conflict
            epochs_open_in_order
            a_sealed_epoch_does_not_open_again
            seal_is_idempotent
            only_an_open_epoch_can_be_sealed
            the_seal_reports_what_was_pushed
            an_epoch_without_updates_changes_nothing
            status_follows_the_life_of_an_epoch

            push_is_idempotent
            an_update_above_the_watermark_is_a_conflict
            a_late_push_never_changes_sealed_parameters
            a_push_to_an_epoch_that_is_not_open_is_a_conflict
            a_shard_resumed_elsewhere_counts_every_batch_once
            an_update_that_is_not_finite_changes_nothing
            an_update_that_does_not_fit_changes_nothing
            staleness_is_counted_in_updates

            a_pull_copies_only_what_changed
            a_forgotten_replica_is_copied_whole
            a_pull_brings_the_sealed_parameters
            a_pull_after_a_restore_brings_the_restored_parameters
            a_pull_outside_an_open_epoch_fails
            a_pull_waits_for_progress
            a_finished_shard_is_past_every_round
            a_seal_ends_a_waiting_pull

            sgd_subtracts_the_rate_times_the_gradient
            weight_decay_is_added_after_clipping
            clipping_allows_every_batch_the_limit
            updates_of_top_k_are_not_clipped
            momentum_accumulates_a_velocity
            nesterov_looks_ahead
            adagrad_divides_by_the_root_of_all_squares
            adam_corrects_its_bias
            adamw_decays_parameters_apart_from_the_gradient
            a_rule_carries_its_state_into_the_next_epoch

            a_round_of_bulk_is_applied_as_its_mean_when_all_have_pushed
            bulk_weighs_updates_by_their_examples
            bulk_clips_each_update
            a_round_of_bulk_is_one_update_of_the_rule
            an_update_of_a_later_round_is_a_conflict
            a_finished_shard_leaves_the_rounds_to_the_others
            a_seal_applies_a_round_that_is_not_complete
            a_restore_drops_the_open_round
            a_dead_worker_holds_up_the_others_until_its_shard_is_tried_again

            a_sparse_update_is_the_dense_one_with_zeros
            a_sparse_update_is_pulled

            measuring_noise_changes_no_bit
            the_rule_leaves_alone_what_the_rate_was_chosen_for
            the_rule_follows_the_noise_of_earlier_windows
            the_optimizer_decides_the_factor
            a_snapshot_has_the_averages_of_the_noise
            bulk_measures_the_noise_of_each_round

            snapshot_and_restore_round_trip
            a_snapshot_of_an_open_epoch_is_a_conflict
            a_refused_restore_leaves_the_store_as_it_was
            a_restore_drops_the_open_epoch

            a_cancelled_push_is_all_or_nothing
            a_cancelled_pull_can_be_repeated
            a_cancelled_wait_for_progress_leaves_no_trace
            a_cancelled_open_can_be_repeated
            a_cancelled_seal_can_be_repeated
            a_cancelled_snapshot_can_be_repeated
            a_cancelled_restore_is_all_or_nothing

            eight_threads_lose_no_push
            threads_that_push_the_same_update_count_it_once
            a_pull_among_pushes_is_atomic_per_block
            a_seal_among_pushes_reports_exactly_what_counted
            threads_in_bulk_see_every_round_whole
            a_seal_among_rounds_reports_exactly_what_counted
            threads_are_never_further_ahead_than_the_bound
        }
    };
}
