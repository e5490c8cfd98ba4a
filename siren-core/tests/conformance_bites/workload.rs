//! A correct workload, and wrong ones.

use std::sync::atomic::{AtomicU64, Ordering};

use siren_core::conformance::workload::{self, Subject};
use siren_core::conformance::workload_tests;
use siren_core::{
    Batch, Better, Error, Evaluation, Layout, Metrics, Result, Seed, SparseGradient, Stream,
    TensorSpec, Workload,
};

use super::bite::faults;

workload_tests!(logistic_regression, subject(None));

/// The fault of a workload.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    AddsToTheBuffer,
    AveragesBatches,
    CountsCalls,
    EvaluatesTheSum,
    ForgetsTheSeed,
    ForgetsTheShortBatch,
    LeavesOutAWeight,
    LeavesOutTheBias,
    LossIsASum,
    PanicsOnFewBytes,
    ReadsAnyBytes,
    SparseAddsBeforeItDeclines,
    SparseLeavesOutTheBias,
    SparseOnlySometimes,
    SumsInsteadOfMeaning,
    TurnsTheSign,
}

const FEATURES: usize = 3;

/// The mean squared error of the probabilities.
const BRIER: &str = "brier score";

/// Logistic regression: records of three features and a label, each an `f32`.
struct Logistic {
    layout: Layout,
    calls: AtomicU64,
    fault: Option<Fault>,
}

impl Logistic {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The features and the label of every example.
    fn read(&self, batch: &Batch<'_>) -> Result<Vec<[f32; FEATURES + 1]>> {
        let fits = batch.bytes.len() == batch.examples * 4 * (FEATURES + 1);
        if self.has(Fault::PanicsOnFewBytes) {
            assert!(fits, "the bytes do not fit the number of examples");
        }
        if !fits && !self.has(Fault::ReadsAnyBytes) {
            return Err(Error::rejected("the bytes do not fit the number of examples"));
        }
        // A lenient parser, for the fault.
        let numbers = batch.bytes.as_chunks::<4>().0.iter();
        let numbers: Vec<f32> = numbers.map(|&number| f32::from_le_bytes(number)).collect();
        Ok(numbers.as_chunks().0.to_vec())
    }

    /// The loss of an example, and its slope along the score.
    fn loss(params: &[f32], record: &[f32; FEATURES + 1]) -> (f64, f64) {
        let weighted = params.iter().zip(record);
        let score: f32 = weighted.take(FEATURES).map(|(p, x)| p * x).sum();
        let score = f64::from(score + params[FEATURES]);
        let label = f64::from(record[FEATURES]);
        let probability = 1.0 / (1.0 + (-score).exp());
        let loss = score.max(0.0) - score * label + (-score.abs()).exp().ln_1p();
        (loss, probability - label)
    }
}

impl Workload for Logistic {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        let mut seed = seed.split(Stream::Init, &[]);
        if self.has(Fault::ForgetsTheSeed) {
            seed = seed.child(self.calls.fetch_add(1, Ordering::Relaxed));
        }
        let draw = |i| (seed.child(i).get() % 1_000) as f32 / 1_000.0 - 0.5;
        Ok((0..=FEATURES as u64).map(draw).collect())
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _seed: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let records = self.read(batch)?;
        let mut sum = [0.0; FEATURES + 1];
        let mut losses = 0.0;
        for record in &records {
            let (loss, slope) = Self::loss(params, record);
            losses += loss;
            for (sum, &x) in sum.iter_mut().zip(&record[..FEATURES]) {
                *sum += slope * f64::from(x);
            }
            sum[FEATURES] += slope;
        }
        let mut share = 1.0 / records.len() as f64;
        let loss = match self.has(Fault::LossIsASum) {
            true => losses,
            false => losses * share,
        };
        match self.fault {
            Some(Fault::SumsInsteadOfMeaning) => share = 1.0,
            Some(Fault::TurnsTheSign) => share = -share,
            Some(Fault::ForgetsTheShortBatch) => share = 0.125,
            Some(Fault::LeavesOutTheBias) => sum[FEATURES] = 0.0,
            Some(Fault::LeavesOutAWeight) => sum[1] = 0.0,
            Some(Fault::CountsCalls) => {
                let calls = self.calls.fetch_add(1, Ordering::Relaxed);
                sum[0] += 1e-6 * calls as f64;
            }
            _ => {}
        }
        if self.has(Fault::AddsToTheBuffer) {
            gradient.iter_mut().for_each(|g| *g = if g.is_nan() { 0.0 } else { *g });
        } else {
            gradient.fill(0.0);
        }
        for (gradient, sum) in gradient.iter_mut().zip(sum) {
            *gradient += (sum * share) as f32;
        }
        Ok(loss)
    }

    fn sparse_gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut SparseGradient,
    ) -> Result<Option<f64>> {
        if self.has(Fault::SparseOnlySometimes) && batch.examples == 1 {
            return Ok(None);
        }
        let mut dense = [0.0; FEATURES + 1];
        let loss = self.gradient(params, batch, seed, &mut dense)?;
        let left_out = usize::from(self.has(Fault::SparseLeavesOutTheBias));
        // Summed in two parts, and backwards.
        for index in (0..=FEATURES - left_out).rev() {
            gradient.add(index as u32, dense[index] / 2.0);
            gradient.add(index as u32, dense[index] / 2.0);
        }
        Ok((!self.has(Fault::SparseAddsBeforeItDeclines)).then_some(loss))
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let records = self.read(batch)?;
        let share = match self.has(Fault::EvaluatesTheSum) {
            true => records.len() as f64,
            false => 1.0,
        };
        if self.has(Fault::AveragesBatches) {
            let squares = records.iter().map(|record| Self::loss(params, record).1.powi(2));
            metrics.add("mean of means", &[1.0, squares.sum::<f64>() / records.len() as f64]);
        }
        for record in records {
            let (loss, slope) = Self::loss(params, &record);
            metrics.add_loss(1, share * loss);
            metrics.add_answers(1, u64::from(slope.abs() < 0.5));
            let positive = record[FEATURES] > 0.5;
            metrics.add_score((slope + f64::from(record[FEATURES])) as f32, positive);
            metrics.add(BRIER, &[1.0, slope * slope]);
        }
        Ok(())
    }

    fn finish(&self, metrics: &Metrics) -> Evaluation {
        let means = metrics.mean("mean of means");
        metrics.evaluation().with(BRIER, means.or(metrics.mean(BRIER)))
    }

    fn better(&self, metric: &str) -> Better {
        if metric == BRIER { Better::Lower } else { Better::Higher }
    }
}

fn subject(fault: Option<Fault>) -> Subject {
    let tensors = vec![TensorSpec::new("weight", [FEATURES]), TensorSpec::new("bias", [1])];
    let workload =
        Logistic { layout: Layout::new(tensors).unwrap(), calls: AtomicU64::new(0), fault };
    let records = (0..8_u8).map(|i| {
        let i = f32::from(i);
        let record = [(1.3 * i).sin(), (0.7 * i).cos(), 0.2 * i - 0.7, i % 2.0];
        record.iter().flat_map(|x| x.to_le_bytes()).collect()
    });
    Subject::new(workload, records.collect())
}

fn with_fault(fault: Fault) -> Subject {
    subject(Some(fault))
}

faults! { workload::FACTS, with_fault;
    the_gradient_of_the_sum: SumsInsteadOfMeaning =>
        a_gradient_is_the_slope_of_the_loss a_gradient_is_the_mean_over_its_batch;
    a_loss_that_is_a_sum: LossIsASum =>
        a_gradient_is_the_slope_of_the_loss an_evaluation_agrees_with_the_gradient;
    a_gradient_that_takes_every_batch_for_whole: ForgetsTheShortBatch =>
        a_gradient_is_the_mean_over_its_batch;
    a_gradient_uphill: TurnsTheSign =>
        a_gradient_is_the_slope_of_the_loss every_tensor_has_its_part_in_the_gradient;
    a_gradient_without_the_bias: LeavesOutTheBias =>
        a_gradient_is_the_slope_of_the_loss every_tensor_has_its_part_in_the_gradient;
    a_gradient_without_one_weight: LeavesOutAWeight => every_tensor_has_its_part_in_the_gradient;
    a_gradient_on_top_of_the_last: AddsToTheBuffer => a_gradient_overwrites_its_buffer;
    a_gradient_that_counts_calls: CountsCalls => equal_inputs_give_equal_bits;
    a_sparse_gradient_without_the_bias: SparseLeavesOutTheBias =>
        a_sparse_gradient_is_the_dense_one;
    a_sparse_gradient_for_some_batches_only: SparseOnlySometimes =>
        a_sparse_gradient_is_the_dense_one;
    a_sparse_gradient_that_is_declined_half_way: SparseAddsBeforeItDeclines =>
        a_sparse_gradient_is_the_dense_one;
    parameters_that_forget_their_seed: ForgetsTheSeed => equal_seeds_give_equal_parameters;
    a_workload_that_panics_on_few_bytes: PanicsOnFewBytes =>
        bytes_that_are_no_examples_are_rejected;
    a_workload_that_reads_any_bytes: ReadsAnyBytes => bytes_that_are_no_examples_are_rejected;
    a_metric_that_averages_over_batches: AveragesBatches =>
        metrics_of_parts_merge_into_those_of_the_whole;
    an_evaluation_of_the_sum: EvaluatesTheSum =>
        an_evaluation_agrees_with_the_gradient metrics_of_parts_merge_into_those_of_the_whole;
}
