//! The price that the money left can pay.

use siren_core::Allocation;
use statrs::function::erf::erfc;

use super::plan::Plan;
use super::price_table::{PRICES, PriceTable, Uncertainty, mix};
use crate::belief::Belief;
use crate::model::{At, Chance};

/// The bad luck that a decision has to survive, in standard deviations.
const LUCK: f64 = 2.5;
/// The factor by which the price may rise to make up for bad luck.
const THRIFT: f64 = 10.0;

/// The allocation for the next epoch.
pub(super) fn decide(plan: &Plan, belief: &Belief, money: f64, reserve: f64) -> Allocation {
    let decisions = plan.tables.iter().map(|table| {
        Decision {
            plan,
            table,
            belief,
            money,
            reserve,
            time: belief.time_ratio(),
            cost: belief.cost_ratio(),
            gain: belief.progress_ratio(),
        }
        .make()
    });
    let best = decisions.min_by(|a, b| {
        let order = b.affordable.cmp(&a.affordable);
        order.then(a.to_go.total_cmp(&b.to_go))
    });
    best.map_or(Allocation::new(1, 0), |made| made.allocation)
}

struct Decision<'a> {
    plan: &'a Plan,
    table: &'a PriceTable,
    belief: &'a Belief,
    money: f64,
    reserve: f64,
    /// Factors that correct the model.
    time: f64,
    cost: f64,
    gain: f64,
}

struct Made {
    allocation: Allocation,
    affordable: bool,
    /// Seconds, or dollars if the money does not suffice.
    to_go: f64,
}

impl Decision<'_> {
    fn make(&self) -> Made {
        let at = self.belief.at();
        let slack = |price| self.slack(price);
        let last = PRICES - 1;
        let (mut low, mut high) = (0, last);
        let price = if slack(0) >= 0.0 {
            0
        } else {
            while high - low > 1 {
                let middle = (low + high) / 2;
                if slack(middle) >= 0.0 { high = middle } else { low = middle }
            }
            high
        };
        let mut choice = self.table.choice(price, at);
        let left = slack(price);
        let affordable = left >= 0.0;
        let (mut seconds, dollars) = self.total(price);
        // A mixture of two prices may use more of the money.
        if price > 0 && left > 0.0 {
            let lacking = -slack(price - 1);
            if lacking > 0.0 && lacking.is_finite() {
                let share = left / (left + lacking);
                choice = mix(&choice, &self.table.choice(price - 1, at), share);
                seconds += share * (self.total(price - 1).0 - seconds);
            }
        }
        let mut to_go = if affordable { seconds } else { dollars };
        if self.plan.tables.len() > 1 && affordable {
            let epoch = |at| self.belief.model().epoch(at, choice.allocation, &Chance::EXPECTED);
            to_go += epoch(at).elapsed_s - epoch(At { memory_mb: None, ..at }).elapsed_s;
        }
        Made { allocation: choice.allocation, affordable, to_go }
    }

    /// The money that is left at the end at a price; negative if money is lacking.
    fn slack(&self, price: usize) -> f64 {
        let last = self.table.last(price).dollars * self.cost;
        let mean = self.total(price).1 + self.reserve * last;
        self.money - mean.max(self.unlucky(price))
    }

    fn epochs_left(&self) -> f64 {
        self.plan.horizon.epochs.saturating_sub(self.belief.at().epoch).max(1) as f64
    }

    /// The expected seconds and dollars of the rest of the job.
    fn total(&self, price: usize) -> (f64, f64) {
        let mut at = self.belief.at();
        let mut left = self.epochs_left();
        let (mut seconds, mut dollars) = (0.0, 0.0);
        if at.epoch == 0 {
            let first = self.table.choice(price, at);
            (seconds, dollars) = (first.seconds, first.dollars);
            at.progress += first.progress * self.gain;
            left -= 1.0;
        }
        let rest = match self.plan.horizon.target {
            Some(needed) if at.progress >= needed && seconds > 0.0 => (0.0, 0.0),
            Some(_) => self.to_target(price, at.progress, left),
            None => self.to_last_epoch(price, at.progress, left),
        };
        ((seconds + rest.0) * self.time, (dollars + rest.1) * self.cost)
    }

    fn to_target(&self, price: usize, progress: f64, left: f64) -> (f64, f64) {
        let fluid = self.table.to_go(price, progress);
        let last = self.table.last(price);
        let epochs = fluid.epochs / self.gain;
        // The target is overshot, since epochs are whole.
        let whole = hitting_epochs(epochs, self.plan.noise.progress);
        let over = whole - epochs;
        let part = (left / whole).min(1.0);
        let all = |fluid: f64, last: f64| (fluid / self.gain + over * last) * part;
        (all(fluid.seconds, last.seconds), all(fluid.dollars, last.dollars))
    }

    fn to_last_epoch(&self, price: usize, progress: f64, left: f64) -> (f64, f64) {
        let now = self.table.choice(price, At { epoch: 1, progress, memory_mb: None });
        let end = progress + left * now.progress * self.gain;
        let (from, to) = (self.table.to_go(price, progress), self.table.to_go(price, end));
        let epochs = from.epochs - to.epochs;
        if epochs < 1e-9 {
            return (left * now.seconds, left * now.dollars);
        }
        let mean = |from: f64, to: f64| left * (from - to) / epochs;
        (mean(from.seconds, to.seconds), mean(from.dollars, to.dollars))
    }

    /// The dollars of the rest of the job if the next epoch goes badly, all others are paid at a
    /// higher price, and those go badly too.
    fn unlucky(&self, price: usize) -> f64 {
        let Uncertainty { progress: spread, cost } = self.plan.noise;
        let at = self.belief.at();
        let now = self.table.choice(price, at);
        let dollars = now.dollars * cost;
        let Some(needed) = self.plan.horizon.target else {
            return dollars * self.cost;
        };
        let after = at.progress + now.progress * self.gain * (-LUCK * spread).exp();
        if after >= needed || self.epochs_left() <= 1.0 {
            return dollars * self.cost;
        }
        let thrift = (THRIFT.ln() / self.table.step.max(1e-9)).ceil() as usize;
        let thrifty = price.saturating_add(thrift).min(PRICES - 1);
        let fluid = self.table.to_go(thrifty, after);
        let epochs = (fluid.epochs / self.gain).max(1e-9);
        let many = (epochs + LUCK * spread * epochs.sqrt()).ceil().min(self.epochs_left());
        let rest = fluid.dollars / self.gain / epochs * many * cost;
        (dollars + rest) * self.cost
    }
}

/// The mean number of epochs until the sum of their progress is at least `needed`. Each epoch's
/// progress has mean 1 and standard deviation `spread`. The result is 1 plus the probabilities that
/// 1, 2, 3, … epochs are not enough, by the normal distribution.
fn hitting_epochs(needed: f64, spread: f64) -> f64 {
    if needed.is_nan() || needed <= 0.0 {
        return 1.0;
    }
    if spread < 1e-6 || needed > 1e6 {
        // Tolerates the rounding of sums.
        return (needed - 1e-9).ceil().max(1.0);
    }
    if spread * spread * needed > 0.25 {
        // The position of the sum between whole epochs no longer matters (Wald's equation, mean
        // overshoot).
        return needed + 0.5 * (1.0 + spread * spread);
    }
    let reach = 5.0 * spread * (needed + 1.0).sqrt() + 1.0;
    let mut epochs = (needed - reach).floor().max(1.0);
    let mut mean = epochs;
    loop {
        let deviations = (needed - epochs) / (spread * epochs.sqrt());
        let not_enough = 0.5 * erfc(-deviations / std::f64::consts::SQRT_2);
        mean += not_enough;
        epochs += 1.0;
        if not_enough < 1e-6 {
            return mean;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_epochs_reach_beyond_what_is_needed() {
        assert_eq!(hitting_epochs(97.0, 0.0), 97.0);
        assert_eq!(hitting_epochs(0.3, 0.0), 1.0);
        assert_eq!(hitting_epochs(-1.0, 0.05), 1.0);
        assert!((hitting_epochs(1.0, 0.05) - 1.5).abs() < 1e-3);
        assert!((hitting_epochs(97.3, 0.1) - 97.8).abs() < 0.05);
        assert!(hitting_epochs(0.8, 0.05) < 1.001);
    }
}
