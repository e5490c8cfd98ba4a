//! The result of measuring a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The loss of a model on a data set, and its other metrics. This one value goes from the
/// [`Workload`](crate::Workload) to the terminal, the run's files, the report and the stop rules.
///
/// In JSON, `loss` is a number and `metrics` an object of names and values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean loss on the held-out data, or of training when no data is held out.
    pub loss: f64,
    /// The other metrics by name, such as `accuracy` and `auc`. A metric that was not measured is
    /// absent.
    pub metrics: BTreeMap<String, f64>,
}

impl Evaluation {
    /// The name of the share of right answers.
    pub const ACCURACY: &str = "accuracy";
    /// The name of the area under the ROC curve.
    pub const AUC: &str = "auc";

    /// A loss without any other metric.
    pub fn new(loss: f64) -> Self {
        Self { loss, metrics: BTreeMap::new() }
    }

    /// Sets a metric; `None` leaves it out.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Option<f64>>) -> Self {
        let name = name.into();
        match value.into() {
            Some(value) => self.metrics.insert(name, value),
            None => self.metrics.remove(&name),
        };
        self
    }

    /// The value of a metric, if it was measured.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    /// The share of right answers, if it was measured.
    pub fn accuracy(&self) -> Option<f64> {
        self.metric(Self::ACCURACY)
    }

    /// The area under the ROC curve, if it was measured.
    pub fn auc(&self) -> Option<f64> {
        self.metric(Self::AUC)
    }
}

/// The direction in which a metric improves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A higher value is better, as of an accuracy.
    #[default]
    Higher,
    /// A lower value is better, as of an error.
    Lower,
}

impl Better {
    /// `true` if `value` is better than `other`.
    pub fn prefers(self, value: f64, other: f64) -> bool {
        match self {
            Self::Higher => value > other,
            Self::Lower => value < other,
        }
    }
}
