//! The state that a scheduler sees: s_t of the SIREN paper.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Observation, Phases, Usd, Utilisation};

/// The nine parts of the state of the SIREN paper, and the last allocation. Before the first epoch,
/// parts that are not measured yet are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The epoch to allocate for, t.
    pub epoch: u64,
    /// The loss, l.
    pub loss: f64,
    /// Seconds from launch to barrier, P.
    pub elapsed_s: f64,
    /// Seconds of fetching, P^F.
    pub fetch_s: f64,
    /// Seconds of computing, P^C.
    pub compute_s: f64,
    /// Seconds of pulling and pushing, P^U.
    pub update_s: f64,
    /// The share of the memory that was used, u.
    pub memory: f64,
    /// The share of the CPU time that was used, w.
    pub cpu: f64,
    /// The money left, in dollars, b.
    pub budget_usd: f64,
    /// The allocation of the last epoch.
    pub allocation: Option<Allocation>,
}

impl State {
    /// The state in an observation of a running job. Without a limit, the budget is infinite.
    pub fn observed(observation: &Observation) -> Self {
        let seconds = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64());
        let phases = observation.phases;
        let used = observation.utilisation.unwrap_or_default();
        Self {
            epoch: observation.epoch,
            loss: observation.loss,
            elapsed_s: seconds(observation.elapsed),
            fetch_s: seconds(phases.map(|phases| phases.fetch)),
            compute_s: seconds(phases.map(|phases| phases.compute)),
            update_s: seconds(phases.map(|phases| phases.update)),
            memory: used.memory,
            cpu: used.cpu,
            budget_usd: observation.budget_left.map_or(f64::INFINITY, Usd::dollars),
            allocation: observation.allocation,
        }
    }

    /// The nine parts in the paper's order: t, l, P, P^F, P^C, P^U, u, w, b.
    pub fn parts(&self) -> [f64; 9] {
        [
            self.epoch as f64,
            self.loss,
            self.elapsed_s,
            self.fetch_s,
            self.compute_s,
            self.update_s,
            self.memory,
            self.cpu,
            self.budget_usd,
        ]
    }

    /// The observation of a running job in this state.
    pub fn to_observation(&self) -> Observation {
        let seconds = |time| Duration::try_from_secs_f64(time).unwrap_or_default();
        let measured = self.allocation.is_some();
        let work = self.fetch_s + self.compute_s + self.update_s;
        Observation {
            epoch: self.epoch,
            loss: self.loss,
            elapsed: measured.then(|| seconds(self.elapsed_s)),
            phases: measured.then(|| Phases {
                fetch: seconds(self.fetch_s),
                compute: seconds(self.compute_s),
                update: seconds(self.update_s),
                wait: seconds(self.elapsed_s - work),
            }),
            utilisation: measured.then_some(Utilisation { memory: self.memory, cpu: self.cpu }),
            budget_left: self.budget_usd.is_finite().then(|| Usd::new(self.budget_usd)),
            allocation: self.allocation,
            ..Observation::first(self.loss)
        }
    }
}
