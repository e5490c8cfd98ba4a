//! A convolutional network for sentences (Kim, "Convolutional Neural Networks for Sentence
//! Classification", 2014), with word vectors that start at random.
//!
//! Sentences are short and of many lengths, so a batch is not padded to the longest one: its
//! sentences lie end to end in one stream of tokens, with two paddings before, after and between
//! them, which is as far as the widest window sees beyond the word it is centred on. That halves
//! the time of a step.

pub mod reviews;
mod vocabulary;

use rand::Rng;
use siren_burn::burn;
use siren_burn::burn::nn::loss::CrossEntropyLossConfig;
use siren_burn::burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use siren_burn::burn::prelude::*;
use siren_burn::burn::tensor::activation::relu;
use siren_burn::{Learner, Measure};
use siren_core::{Batch, Error, Result, Seed};

pub use vocabulary::{PADDING, UNKNOWN, Vocabulary, tokens};

/// The most tokens of a sentence; what is longer is cut.
pub const LENGTH: usize = 64;
/// The bytes of an example: a label, then [`LENGTH`] tokens as little-endian `u16`, the last ones
/// [`PADDING`].
pub const RECORD: usize = 1 + 2 * LENGTH;
/// The number of classes: negative and positive.
pub const CLASSES: u8 = 2;

/// The entries of a word's vector.
const VECTOR: usize = 64;
/// The words that a filter sees.
const WIDTHS: [usize; 3] = [3, 4, 5];
/// The filters of each width.
const FILTERS: usize = 64;
/// The words on either side of the middle one that the widest window sees.
const REACH: usize = 2;

/// Kim's network: word vectors, filters over windows of 3, 4 and 5 words, the highest answer of
/// each filter in the sentence, and a linear classifier.
#[derive(Module, Debug)]
pub struct SentenceCnn {
    embedding: Embedding,
    filters: [Linear; 3],
    output: Linear,
}

impl SentenceCnn {
    /// A new network for a vocabulary of this number of tokens.
    pub fn new(vocabulary: usize, device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(vocabulary, VECTOR)
                .with_initializer(Initializer::Uniform { min: -0.25, max: 0.25 })
                .init(device),
            filters: WIDTHS.map(|width| LinearConfig::new(width * VECTOR, FILTERS).init(device)),
            output: LinearConfig::new(WIDTHS.len() * FILTERS, CLASSES.into()).init(device),
        }
    }

    /// The highest answer of each filter in each sentence, `[sentences, filters]`.
    pub fn features(&self, sentences: &Sentences) -> Tensor<2> {
        // The vector of a padding is zero, whatever its row in the table.
        let words = self.embedding.forward(sentences.tokens.clone()).squeeze_dim::<2>(0);
        let words = words * sentences.is_word.clone();
        // A convolution over the stream: windows of `width` vectors, and one product. The window of
        // a word has the word in its middle, or just left of it.
        let middles = words.dims()[0] - 2 * REACH;
        let convolved = WIDTHS.iter().zip(&self.filters).map(|(&width, filters)| {
            let first = REACH - (width - 1) / 2;
            let shifted = (first..first + width)
                .map(|start| words.clone().slice(s![start..start + middles]))
                .collect();
            filters.forward(Tensor::cat(shifted, 1))
        });
        let answers = Tensor::cat(convolved.collect(), 1);
        let [count, longest] = sentences.shape;
        let answers = answers.select(0, sentences.windows.clone());
        let answers = answers.reshape([count, longest, WIDTHS.len() * FILTERS]);
        // The highest of rectified answers is the highest answer, rectified.
        relu(answers.max_dim(1).squeeze_dim(1))
    }

    /// The logits, `[sentences, classes]`.
    pub fn forward(&self, sentences: &Sentences) -> Tensor<2> {
        self.output.forward(self.features(sentences))
    }

    /// As [`forward`](Self::forward), without a random half of the features.
    fn forward_with_dropout(&self, sentences: &Sentences, seed: Seed) -> Tensor<2> {
        let features = self.features(sentences);
        let kept = mask(features.dims(), seed, &features.device());
        self.output.forward(features * kept)
    }
}

/// Zeros and twos, at random: the factors of a dropout of one half.
fn mask([rows, columns]: [usize; 2], seed: Seed, device: &Device) -> Tensor<2> {
    let mut rng = seed.rng();
    let mut bits = 0;
    let values: Vec<f32> = (0..rows * columns)
        .map(|entry| {
            bits = if entry % 32 == 0 { rng.next_u32() } else { bits >> 1 };
            if bits & 1 == 0 { 0.0 } else { 2.0 }
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// A batch of sentences.
#[derive(Clone, Debug)]
pub struct Sentences {
    /// The number of sentences, and the words of the longest one.
    shape: [usize; 2],
    /// All words end to end, with paddings around each sentence, `[1, positions]`.
    tokens: Tensor<2, Int>,
    /// One for a word and zero for a padding, `[positions, 1]`.
    is_word: Tensor<2>,
    /// For each sentence the windows of its words, `[sentences * longest]`. A shorter sentence has
    /// its last window several times, which changes no maximum: no padding ever wins.
    windows: Tensor<1, Int>,
    /// Labels, `[sentences]`.
    targets: Tensor<1, Int>,
}

/// Trains [`SentenceCnn`] to tell positive sentences from negative ones, by cross-entropy, with
/// dropout.
#[derive(Clone, Copy, Debug)]
pub struct SentenceLearner {
    vocabulary: usize,
}

impl SentenceLearner {
    /// A learner for a vocabulary of this number of tokens: [`Vocabulary::len`].
    pub fn new(vocabulary: usize) -> Self {
        Self { vocabulary }
    }

    /// The label and the words of an example.
    fn read<'a>(&self, record: &'a [u8]) -> Result<(u8, impl ExactSizeIterator<Item = u16> + 'a)> {
        let label = record[0];
        let (tokens, _) = record[1..].as_chunks::<2>();
        let tokens = tokens.iter().map(|&token| u16::from_le_bytes(token));
        let words = tokens.clone().position(|token| token == PADDING).unwrap_or(tokens.len());
        if label >= CLASSES {
            return Err(Error::rejected(format!("{label} is not a class: pack labels 0 and 1")));
        }
        if words == 0 {
            return Err(Error::rejected("a sentence has no words: leave it out"));
        }
        if let Some(token) = tokens.clone().find(|&token| usize::from(token) >= self.vocabulary) {
            return Err(Error::rejected(format!(
                "token {token} is not in the vocabulary of {}: pack sentences by the vocabulary \
                 that the network was made for",
                self.vocabulary
            )));
        }
        Ok((label, tokens.take(words)))
    }
}

impl Learner for SentenceLearner {
    type Module = SentenceCnn;
    type Batch = Sentences;

    fn init(&self, device: &Device) -> SentenceCnn {
        SentenceCnn::new(self.vocabulary, device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Sentences> {
        let count = batch.examples;
        if batch.bytes.len() != count * RECORD {
            return Err(Error::rejected(format!(
                "{count} sentences are {} bytes, not {}: pack each as a label and {LENGTH} tokens",
                count * RECORD,
                batch.bytes.len()
            )));
        }
        const AROUND: [i64; REACH] = [PADDING as i64; REACH];
        let mut targets = Vec::with_capacity(count);
        let mut tokens = AROUND.to_vec();
        let mut spans = Vec::with_capacity(count);
        for record in batch.records() {
            let (label, words) = self.read(record)?;
            targets.push(i64::from(label));
            spans.push((tokens.len() - REACH, words.len()));
            tokens.extend(words.map(i64::from));
            tokens.extend(AROUND);
        }
        let longest = spans.iter().map(|&(_, words)| words).max().unwrap_or(0);
        let mut windows = Vec::with_capacity(count * longest);
        for (first, words) in spans {
            windows.extend((0..longest).map(|word| (first + word.min(words - 1)) as i64));
        }
        let is_word: Vec<f32> =
            tokens.iter().map(|&token| f32::from(token != i64::from(PADDING))).collect();
        let positions = tokens.len();
        Ok(Sentences {
            shape: [count, longest],
            tokens: Tensor::from_data(TensorData::new(tokens, [1, positions]), device),
            is_word: Tensor::from_data(TensorData::new(is_word, [positions, 1]), device),
            windows: Tensor::from_data(TensorData::new(windows, [count * longest]), device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
        })
    }

    fn loss(&self, net: &SentenceCnn, sentences: Sentences) -> Tensor<1> {
        cross_entropy(net.forward(&sentences), sentences.targets)
    }

    fn training_loss(&self, net: &SentenceCnn, sentences: Sentences, seed: Seed) -> Tensor<1> {
        cross_entropy(net.forward_with_dropout(&sentences, seed), sentences.targets)
    }

    fn evaluate(&self, net: &SentenceCnn, sentences: Sentences, measure: &mut Measure<'_>) {
        measure.classification(net.forward(&sentences), sentences.targets);
    }
}

fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, targets)
}

#[cfg(test)]
mod tests {
    use siren_burn::BurnWorkload;
    use siren_core::{Metrics, Workload};

    use super::*;

    const VOCABULARY: usize = 12;

    fn workload() -> BurnWorkload<SentenceLearner> {
        BurnWorkload::new(SentenceLearner::new(VOCABULARY)).unwrap()
    }

    fn record(label: u8, words: &[u16]) -> Vec<u8> {
        let padding = std::iter::repeat(&PADDING);
        let tokens = words.iter().chain(padding).take(LENGTH).flat_map(|token| token.to_le_bytes());
        std::iter::once(label).chain(tokens).collect()
    }

    /// Six sentences of one word up to more than fit beside one another.
    fn records() -> Vec<u8> {
        let long: Vec<u16> = (0..LENGTH as u16).map(|i| 2 + i % 10).collect();
        [&[3][..], &[4, 5], &[6, 7, 8], &[9, 1, 10, 11], &[2, 2, 2, 2, 2], &long]
            .iter()
            .zip([0, 1].into_iter().cycle())
            .flat_map(|(words, label)| record(label, words))
            .collect()
    }

    fn features(params: &[f32], bytes: &[u8]) -> Vec<f32> {
        let workload = workload();
        let net = workload.module(params).unwrap();
        let batch = Batch::new(bytes.len() / RECORD, bytes);
        let sentences = workload.learner().batch(&batch, &Device::flex()).unwrap();
        net.features(&sentences).into_data().iter().collect()
    }

    /// Kim's features of one sentence by plain loops.
    fn plain_features(params: &[f32], words: &[usize]) -> Vec<f32> {
        let (table, mut rest) = params.split_at(VOCABULARY * VECTOR);
        let mut features = Vec::new();
        for width in WIDTHS {
            let (weight, others) = rest.split_at(width * VECTOR * FILTERS);
            let (bias, others) = others.split_at(FILTERS);
            rest = others;
            for filter in 0..FILTERS {
                let mut highest = 0.0_f32;
                for middle in 0..words.len() {
                    let mut answer = bias[filter];
                    for offset in 0..width {
                        let place = (middle + offset).checked_sub((width - 1) / 2);
                        let Some(&word) = place.and_then(|place| words.get(place)) else {
                            continue;
                        };
                        for entry in 0..VECTOR {
                            answer += table[word * VECTOR + entry]
                                * weight[(offset * VECTOR + entry) * FILTERS + filter];
                        }
                    }
                    highest = highest.max(answer);
                }
                features.push(highest);
            }
        }
        features
    }

    #[test]
    fn it_has_a_vector_for_each_token_filters_of_three_widths_and_a_classifier() {
        let filters = 3 * FILTERS + (3 + 4 + 5) * VECTOR * FILTERS;
        let classifier = 2 * (3 * FILTERS + 1);
        assert_eq!(workload().dim(), VOCABULARY * VECTOR + filters + classifier);
    }

    #[test]
    fn the_stream_of_a_batch_gives_the_features_of_each_sentence_alone() {
        let params = workload().init(Seed::new(1)).unwrap();
        let bytes = records();
        let together = features(&params, &bytes);
        let of_each = together.chunks_exact(3 * FILTERS);
        for (record, together) in bytes.chunks_exact(RECORD).zip(of_each) {
            let (tokens, _) = record[1..].as_chunks::<2>();
            let words: Vec<usize> = tokens
                .iter()
                .map(|&token| usize::from(u16::from_le_bytes(token)))
                .take_while(|&token| token != usize::from(PADDING))
                .collect();
            let plain = plain_features(&params, &words);
            for (ours, plain) in together.iter().zip(&plain) {
                assert!((ours - plain).abs() < 1e-5, "{} words: {ours}, {plain}", words.len());
            }
        }
    }

    #[test]
    fn the_row_of_the_padding_changes_nothing_and_is_not_trained() {
        let workload = workload();
        let mut params = workload.init(Seed::new(1)).unwrap();
        let bytes = records();
        let before = features(&params, &bytes);
        params[..VECTOR].fill(1e3);
        assert_eq!(features(&params, &bytes), before);
        let mut gradient = vec![f32::NAN; workload.dim()];
        workload.gradient(&params, &Batch::new(6, &bytes), Seed::new(0), &mut gradient).unwrap();
        assert_eq!(gradient[..VECTOR], [0.0; VECTOR]);
        assert!(gradient[VECTOR..2 * VECTOR].iter().any(|&entry| entry != 0.0));
    }

    #[test]
    fn dropout_is_drawn_from_the_seed_and_an_evaluation_has_none() {
        let workload = workload();
        let params = workload.init(Seed::new(1)).unwrap();
        let bytes = records();
        let batch = Batch::new(6, &bytes);
        let gradient = |seed| {
            let mut gradient = vec![f32::NAN; workload.dim()];
            let loss = workload.gradient(&params, &batch, Seed::new(seed), &mut gradient).unwrap();
            (loss.to_bits(), gradient)
        };
        let first = gradient(1);
        assert_ne!(first.0, gradient(2).0, "two seeds drop the same features");
        assert_eq!(first, gradient(1), "one seed gives two gradients");
        let loss = || {
            let mut metrics = Metrics::new();
            workload.evaluate(&params, &batch, &mut metrics).unwrap();
            metrics.loss()
        };
        assert_eq!(loss().to_bits(), loss().to_bits());
        let seeds = 400;
        let mean = (0..seeds).map(|seed| f64::from_bits(gradient(seed).0)).sum::<f64>();
        assert!((mean / seeds as f64 - loss()).abs() < 0.01, "{mean} {}", loss());
    }

    #[test]
    fn half_of_a_mask_is_zero_and_its_mean_is_one() {
        let values: Vec<f32> =
            mask([50, 193], Seed::new(3), &Device::flex()).into_data().iter().collect();
        assert!(values.iter().all(|&value| value == 0.0 || value == 2.0));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.04, "{mean}");
    }

    #[test]
    fn a_batch_that_is_no_sentences_is_rejected() {
        let workload = workload();
        let params = workload.init(Seed::new(0)).unwrap();
        let mut gradient = vec![0.0; workload.dim()];
        let mut refused = |examples: usize, bytes: &[u8]| {
            let batch = Batch::new(examples, bytes);
            let error = workload.gradient(&params, &batch, Seed::new(0), &mut gradient);
            error.unwrap_err().message().to_owned()
        };
        let good = record(1, &[2, 3]);
        assert!(refused(2, &good).contains("2 sentences are 258 bytes, not 129"));
        assert!(refused(1, &record(2, &[2, 3])).contains("2 is not a class"));
        assert!(refused(1, &record(0, &[])).contains("no words"));
        assert!(refused(1, &record(0, &[2, 12])).contains("token 12 is not in the vocabulary"));
        assert!(refused(1, &record(0, &[2, 0, 12])).contains("token 12"));
    }
}
