//! Facts of a [`Workload`].

mod differences;
mod evaluation;
mod gradient;

pub use differences::*;
pub use evaluation::*;
pub use gradient::*;

use super::Fact;
use crate::{Batch, Seed, Workload};

/// The workload under test, and examples for it.
pub struct Subject {
    workload: Box<dyn Workload>,
    records: Vec<Vec<u8>>,
    tolerance: f64,
    draws: bool,
    any_bytes: bool,
}

impl Subject {
    /// A workload and the bytes of at least three examples, as a data source packs them. A few
    /// examples are enough, and keep the tests fast.
    pub fn new(workload: impl Workload + 'static, records: Vec<Vec<u8>>) -> Self {
        assert!(records.len() >= 3, "give at least three examples");
        Self {
            workload: Box::new(workload),
            records,
            tolerance: 1e-2,
            draws: false,
            any_bytes: false,
        }
    }

    /// Sets the allowed difference between gradient and difference quotient, as a share of the
    /// largest entry of the tensor's gradient. The default is 0.01.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Declares that gradients draw from their seed, as with dropout. Their loss may then differ
    /// from that of an evaluation.
    #[must_use]
    pub fn draws(mut self) -> Self {
        self.draws = true;
        self
    }

    /// Declares that any bytes are valid examples, such as text. The workload need not refuse
    /// shortened bytes.
    #[must_use]
    pub fn reads_any_bytes(mut self) -> Self {
        self.any_bytes = true;
        self
    }

    fn dim(&self) -> usize {
        self.workload.dim()
    }

    fn bytes(&self) -> Vec<u8> {
        self.records.concat()
    }

    /// The parameters for the tests: the initial ones with small changes, so that none is zero.
    fn params(&self) -> Vec<f32> {
        let mut params = self.workload.init(Seed::new(1)).expect("init");
        for (entry, value) in (0..).zip(&mut params) {
            *value += 0.05 * signed_unit(Seed::new(2).child(entry));
        }
        params
    }

    /// The loss and the gradient of a batch, in a buffer with other contents before.
    fn gradient(&self, params: &[f32], batch: &Batch<'_>) -> (f64, Vec<f32>) {
        let mut gradient = vec![f32::NAN; self.dim()];
        let loss =
            self.workload.gradient(params, batch, Seed::new(3), &mut gradient).expect("gradient");
        (loss, gradient)
    }
}

/// A number between -1 and 1, determined by the seed.
fn signed_unit(seed: Seed) -> f32 {
    (seed.get() as f64 / u64::MAX as f64 * 2.0 - 1.0) as f32
}

/// `true` if two numbers differ only by rounding in single precision.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * a.abs().max(b.abs()).max(1e-3)
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__workload_facts!(__fact_list);

/// Makes a test for each fact of a [`Workload`]: `workload_tests!(module_name, subject)`.
///
/// ```text
/// workload_tests!(logistic, workload::Subject::new(Logistic::new(3), records()));
/// ```
#[macro_export]
macro_rules! workload_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__workload_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __workload_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] workload:
            initial_parameters_are_finite_and_as_many_as_the_layout_says
            equal_seeds_give_equal_parameters

            a_gradient_is_the_slope_of_the_loss
            every_tensor_has_its_part_in_the_gradient
            a_gradient_is_the_mean_over_its_batch
            a_gradient_overwrites_its_buffer
            equal_inputs_give_equal_bits
            a_sparse_gradient_is_the_dense_one
            bytes_that_are_no_examples_are_rejected

            an_evaluation_agrees_with_the_gradient
            metrics_of_parts_merge_into_those_of_the_whole
            every_number_of_examples_is_a_batch
        }
    };
}
