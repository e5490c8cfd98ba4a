//! The options of a store over objects, and the resources that follow from them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use siren_core::{Aggregation, EpochPlan, RequestCosts, Requests};

use super::keys::Cuts;

/// The bytes per second that one function reads after its burst is used up: 77.6 MB/s on AWS Lambda
/// (hpides/skyrise, arXiv 2501.07771), rounded down.
const BANDWIDTH: u64 = 75_000_000;

/// The largest number of parts. Keys have room for more, but a pull may have to read all parts.
const MAX_PARTS: u32 = 4_096;

/// The options of an [`ObjectStore`](super::ObjectStore). All handles of a store should have the
/// same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectOptions {
    /// The number of parts that the parameters are split into when they are first written. A pull
    /// reads each part that changed. Each part belongs to one aggregator at a time.
    /// [`parts_for`](Self::parts_for) returns the number that a swarm needs.
    pub parts: u32,
    /// The number of updates that a worker may be ahead of the parameters. A pull waits until they
    /// lack at most this many updates of each shard that pushes through this handle. Small numbers
    /// keep updates from becoming stale where aggregators are slower than the workers, but make
    /// workers wait more often. Bulk mode does not need it.
    pub max_ahead: u64,
    /// `true` if this handle applies updates itself, whenever they are needed. Then there are no
    /// aggregators: for tests, and for a store in this process. A pull makes more requests than
    /// [`request_costs`](siren_core::ParameterStore::request_costs) returns.
    pub inline: bool,
    /// The time between two pushes of a worker. Together with the size of an update it determines
    /// the number of aggregators.
    #[serde(rename = "cycle_s", with = "siren_core::seconds")]
    pub cycle: Duration,
    /// The bytes that an aggregator reads per second; 75 MB on AWS Lambda.
    pub bandwidth: u64,
    /// The shortest time between two polls of an aggregator for pushed updates. Each poll costs as
    /// much as a push.
    #[serde(rename = "poll_interval_s", with = "siren_core::seconds")]
    pub poll_interval: Duration,
    /// The first delay between two polls of a waiting pull, or of a seal. Later delays grow to
    /// eight times this value.
    #[serde(rename = "wait_delay_s", with = "siren_core::seconds")]
    pub wait_delay: Duration,
    /// The time that a seal waits for idle aggregators before it applies the remaining updates
    /// itself.
    #[serde(rename = "aggregator_timeout_s", with = "siren_core::seconds")]
    pub aggregator_timeout: Duration,
    /// The smallest memory of an aggregator, in MB. It grows where its parts and the updates read
    /// at a time do not fit.
    pub memory_mb: u32,
}

impl Default for ObjectOptions {
    /// One part, workers that push once a second and may be two updates ahead, and aggregators of
    /// 512 MB that poll five times a second.
    fn default() -> Self {
        Self {
            parts: 1,
            max_ahead: 2,
            inline: false,
            cycle: Duration::from_secs(1),
            bandwidth: BANDWIDTH,
            poll_interval: Duration::from_millis(200),
            wait_delay: Duration::from_millis(50),
            aggregator_timeout: Duration::from_secs(5),
            memory_mb: 512,
        }
    }
}

impl ObjectOptions {
    /// The number of parts with which aggregators keep up with `workers` workers, each pushing
    /// dense updates of `dim` parameters once per `cycle`: `workers x bytes / (75 MB/s x cycle)`.
    pub fn parts_for(dim: usize, workers: u32, cycle: Duration) -> u32 {
        let parts = streams(4.0 * dim as f64 * f64::from(workers), cycle, BANDWIDTH);
        parts.min(u32::try_from(dim).unwrap_or(u32::MAX)).min(MAX_PARTS)
    }

    pub(super) fn cuts(&self, dim: usize) -> Cuts {
        let parts = (self.parts.clamp(1, MAX_PARTS) as usize).min(dim);
        Cuts { dim, parts }
    }

    pub(super) fn request_costs(&self, cuts: Cuts) -> RequestCosts {
        let parts = cuts.parts as u64;
        let reads = |reads| Requests { reads, writes: 0 };
        // Each delay is half as long again as the one before, up to eight times the first.
        let polls = (1.0 / self.wait_delay.as_secs_f64().max(1e-3)).ceil() as u64;
        RequestCosts {
            push: Requests { writes: 1, reads: 0 },
            // The state and all parts, at most.
            pull: reads(1 + parts),
            wait: reads(polls.min(8) * (1 + parts)),
            // One part at a time.
            wait_own: reads(polls.min(8)),
            // The listing of pushed updates, and another read of everything.
            start: Requests { writes: 2, reads: 2 * (1 + parts) },
        }
    }

    pub(super) fn aggregation(&self, plan: &EpochPlan, cuts: Cuts) -> Aggregation {
        if self.inline {
            return Aggregation::NONE;
        }
        let workers = f64::from(plan.shards);
        let bytes = plan.compression.payload_bytes(cuts.dim as u64) as f64 * workers;
        let aggregators = streams(bytes, self.cycle, self.bandwidth).min(cuts.parts as u32);
        let parts = cuts.parts.div_ceil(aggregators as usize) as u64;
        let part = 4 * cuts.dim.div_ceil(cuts.parts) as u64;
        // The part and its optimizer state, in use and encoded; the updates read at a time, also
        // decoded.
        let round = if plan.sync_mode.merges_rounds() { part * u64::from(plan.shards) } else { 0 };
        let optimizer_state = plan.optimizer.state_vectors() as u64;
        let bytes = parts * (part * (3 + 2 * optimizer_state) + 2 * round.max(64 << 20).max(part));
        let memory = u32::try_from(bytes.div_ceil(1 << 20) + 128).unwrap_or(u32::MAX);
        let polls = (1.0 / self.poll_interval.as_secs_f64().max(1e-2)).ceil() as u64;
        let mut pushes = (workers / self.cycle.as_secs_f64().max(1e-3)).ceil() as u64;
        if plan.sync_mode.merges_rounds() {
            // All arrive at once, and a round is read as a whole.
            pushes = pushes.max(u64::from(plan.shards));
        }
        Aggregation {
            aggregators,
            memory_mb: memory.max(self.memory_mb),
            requests_per_second: Requests {
                // A listing and a state for the first aggregator, and every part.
                writes: polls * (2 + parts) + 4,
                // A sparse update may be read twice; also the state, and sometimes all parts.
                reads: 2 * pushes * parts + 2 * polls + cuts.parts as u64 + 4,
            },
        }
    }
}

/// The number of functions that read `bytes` bytes in every cycle; at least one.
fn streams(bytes: f64, cycle: Duration, bandwidth: u64) -> u32 {
    (bytes / (bandwidth.max(1) as f64 * cycle.as_secs_f64().max(1e-3))).ceil().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use siren_core::{Compression, Optimizer, SyncMode};

    use super::super::tests::plan;
    use super::*;

    fn of(dim: usize, parts: u32, plan: &EpochPlan, options: &ObjectOptions) -> Aggregation {
        options.aggregation(plan, ObjectOptions { parts, ..options.clone() }.cuts(dim))
    }

    #[test]
    fn there_are_as_many_aggregators_as_the_bytes_of_all_workers_need() {
        // LeNet, and ResNet-50 with 200 workers.
        let half = Duration::from_millis(500);
        assert_eq!(ObjectOptions::parts_for(431_080, 64, half), 3);
        assert_eq!(ObjectOptions::parts_for(25_557_032, 200, Duration::from_secs(5)), 55);
        assert_eq!(ObjectOptions::parts_for(10, 1, half), 1);

        let options = ObjectOptions { cycle: half, ..ObjectOptions::default() };
        let dense =
            EpochPlan { examples: 640, shards: 64, ..plan(SyncMode::Hybrid, Optimizer::Sgd) };
        assert_eq!(of(431_080, 8, &dense, &options).aggregators, 3);
        assert_eq!(of(431_080, 2, &dense, &options).aggregators, 2, "at most one for each part");
        let sparse = EpochPlan { compression: Compression::TopK { share: 0.01 }, ..dense.clone() };
        assert_eq!(of(431_080, 8, &sparse, &options).aggregators, 1);
        // Each entry has an index and a value, also if more than half of the entries are pushed.
        let top_k = |share| {
            let compression = Compression::TopK { share };
            of(431_080, 8, &EpochPlan { compression, ..dense.clone() }, &options).aggregators
        };
        assert_eq!([0.5, 0.75, 1.0].map(top_k), [3, 5, 6]);
        let inline = ObjectOptions { inline: true, ..options };
        assert_eq!(of(431_080, 8, &dense, &inline), Aggregation::NONE);
    }

    #[test]
    fn a_round_of_bulk_fits_into_an_aggregator() {
        let bulk =
            EpochPlan { examples: 640, shards: 640, ..plan(SyncMode::Bulk, Optimizer::ADAM) };
        let slow = ObjectOptions { cycle: Duration::from_secs(60), ..ObjectOptions::default() };
        let needed = of(1_000_000, 1, &bulk, &slow);
        // The updates of all workers, both encoded and decoded.
        assert!(u64::from(needed.memory_mb) > (2 * 640 * 4_000_000) >> 20, "{needed:?}");
        // One read for each, and a second one for sparse updates.
        assert!(needed.requests_per_second.reads >= 2 * 640, "{needed:?}");
        let hybrid = EpochPlan { sync_mode: SyncMode::Hybrid, ..bulk };
        assert!(of(1_000_000, 1, &hybrid, &slow).memory_mb <= 512);
    }
}
