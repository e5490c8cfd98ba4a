//! The faults of a simulated platform.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use siren_core::{Error, Invocation, Result, Role, Time};

/// The faults of a simulated platform: at random, and at given times. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The share of invocations that are lost before they begin. Their billed time is unknown.
    pub lost: f64,
    /// The share of invocations that do their work but lose their answer.
    pub answer_lost: f64,
    /// The share of invocations that are throttled.
    pub throttled: f64,
    /// The mean number of crashes in an hour of a function's time.
    pub crashes_per_hour: f64,
    /// The share of requests to storage that are lost before they take effect.
    pub request_lost: f64,
    /// The share of requests to storage that take effect but lose their answer.
    pub request_answer_lost: f64,
    /// The time after which a lost request fails, in seconds.
    pub request_timeout_s: f64,
    /// The faults at given times.
    pub scheduled: Vec<Fault>,
}

/// A fault at a given time, or of a given invocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An attempt at a shard is lost before it begins.
    Lost {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// The number of earlier attempts at the shard.
        #[serde(default)]
        attempt: u32,
    },
    /// An attempt at a shard does its work, but its answer is lost.
    AnswerLost {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// The number of earlier attempts at the shard.
        #[serde(default)]
        attempt: u32,
    },
    /// The functions that run at this moment crash: all, or those of one shard.
    Crash {
        /// The moment, in seconds of virtual time.
        at_s: f64,
        /// The shard, or `None` for all. Aggregators crash only with all.
        #[serde(default)]
        shard: Option<u32>,
    },
    /// Invocations are throttled.
    Throttle {
        /// The start, in seconds of virtual time.
        from_s: f64,
        /// The end, in seconds of virtual time.
        until_s: f64,
    },
    /// Requests to storage take longer.
    Slow {
        /// The start, in seconds of virtual time.
        from_s: f64,
        /// The end, in seconds of virtual time.
        until_s: f64,
        /// The factor by which requests take longer.
        factor: f64,
    },
}

impl Faults {
    /// Checks that the faults are possible.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        let shares = [
            ("lost", self.lost),
            ("answer_lost", self.answer_lost),
            ("throttled", self.throttled),
            ("request_lost", self.request_lost),
            ("request_answer_lost", self.request_answer_lost),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::rejected(format!(
                    "faults.{name} is {share}: give a share from 0 to 1"
                )));
            }
        }
        let number = |name: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            Err(Error::rejected(format!(
                "faults.{name} is {value}: give a finite number, 0 or more"
            )))
        };
        number("crashes_per_hour", self.crashes_per_hour)?;
        number("request_timeout_s", self.request_timeout_s)?;
        for fault in &self.scheduled {
            match *fault {
                Fault::Lost { .. } | Fault::AnswerLost { .. } => {}
                Fault::Crash { at_s, .. } => number("scheduled.at_s", at_s)?,
                Fault::Throttle { from_s, until_s } => {
                    number("scheduled.from_s", from_s)?;
                    number("scheduled.until_s", until_s)?;
                }
                Fault::Slow { from_s, until_s, factor } => {
                    number("scheduled.from_s", from_s)?;
                    number("scheduled.until_s", until_s)?;
                    number("scheduled.factor", factor)?;
                }
            }
        }
        Ok(())
    }

    /// `true` if an invocation at `now` is throttled.
    pub(crate) fn throttles(&self, now: Time, rng: &mut impl Rng) -> bool {
        let scheduled = self.scheduled.iter().any(|fault| match fault {
            Fault::Throttle { from_s, until_s } => within(now, *from_s, *until_s),
            _ => false,
        });
        scheduled || happens(self.throttled, rng)
    }

    /// `true` if an invocation is lost before it begins.
    pub(crate) fn loses(&self, invocation: &Invocation, rng: &mut impl Rng) -> bool {
        let scheduled = self.scheduled.iter().any(|fault| match fault {
            Fault::Lost { epoch, shard, attempt } => hits(invocation, *epoch, *shard, *attempt),
            _ => false,
        });
        scheduled || happens(self.lost, rng)
    }

    /// `true` if the answer of an invocation is lost.
    pub(crate) fn loses_answer(&self, invocation: &Invocation, rng: &mut impl Rng) -> bool {
        let scheduled = self.scheduled.iter().any(|fault| match fault {
            Fault::AnswerLost { epoch, shard, attempt } => {
                hits(invocation, *epoch, *shard, *attempt)
            }
            _ => false,
        });
        scheduled || happens(self.answer_lost, rng)
    }

    /// The time at which a function that starts at `now` crashes, if it still runs then.
    pub(crate) fn crash(
        &self,
        invocation: &Invocation,
        now: Time,
        rng: &mut impl Rng,
    ) -> Option<Time> {
        let scheduled = self.scheduled.iter().filter_map(|fault| match fault {
            Fault::Crash { at_s, shard } => {
                let of_shard = |shard| invocation.role == Role::Shard && invocation.shard == shard;
                let moment = Time::new(seconds(*at_s));
                (shard.is_none_or(of_shard) && moment > now).then_some(moment)
            }
            _ => None,
        });
        let by_chance = (self.crashes_per_hour > 0.0).then(|| {
            let exponential = -(1.0 - rng.random::<f64>()).ln();
            now + seconds(exponential * 3600.0 / self.crashes_per_hour)
        });
        scheduled.chain(by_chance).min()
    }

    /// The factor by which requests take longer at `now`.
    pub(crate) fn slowness(&self, now: Time) -> f64 {
        let factors = self.scheduled.iter().filter_map(|fault| match fault {
            Fault::Slow { from_s, until_s, factor } => {
                within(now, *from_s, *until_s).then_some(*factor)
            }
            _ => None,
        });
        factors.fold(1.0, |all, factor| all * factor)
    }
}

/// `true` with this probability. A probability of 0 draws no random number.
pub(crate) fn happens(probability: f64, rng: &mut impl Rng) -> bool {
    probability > 0.0 && rng.random::<f64>() < probability
}

/// A number of seconds as a duration; the longest one if it is too large.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

fn within(now: Time, from_s: f64, until_s: f64) -> bool {
    let now = now.since_origin();
    now >= seconds(from_s) && now < seconds(until_s)
}

fn hits(invocation: &Invocation, epoch: u64, shard: u32, attempt: u32) -> bool {
    let Invocation { plan, role, shard: of, attempt: tried, .. } = invocation;
    *role == Role::Shard && (plan.epoch, *of, *tried) == (epoch, shard, attempt)
}
