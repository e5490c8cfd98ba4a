//! Labelled sentences from a file, such as the movie reviews of Pang and Lee (2005).

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use rand::seq::SliceRandom;
use siren_core::{Error, ErrorKind, Result, Seed, Stream};
use siren_data::MemorySource;

use super::{CLASSES, LENGTH, PADDING, RECORD, Vocabulary, tokens};

/// The number of folds of a cross-validation.
pub const FOLDS: u32 = 5;

/// A sentence and its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// 1 for a positive sentence and 0 for a negative one.
    pub label: u8,
    /// Its words, at least one.
    pub words: Vec<String>,
}

/// The part of the sentences that is held out from training, to measure the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOut {
    /// A tenth of the sentences.
    Tenth,
    /// One of [`FOLDS`] parts, counted from 0, of a cross-validation.
    Fold(u32),
}

/// Sentences that are ready to train on.
#[derive(Clone, Debug)]
pub struct Reviews {
    /// The training part.
    pub train: MemorySource,
    /// The held-out part.
    pub held_out: MemorySource,
    /// The words of the training part.
    pub vocabulary: Vocabulary,
}

impl Reviews {
    /// Shuffles the reviews by the seed, holds some of them out, and packs all by the vocabulary of
    /// the others, or of the first `train_size` of these if that is given.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when no sentences
    /// would be left to train on, or to measure by.
    pub fn new(
        mut reviews: Vec<Review>,
        seed: Seed,
        held_out: HeldOut,
        train_size: Option<u64>,
    ) -> Result<Self> {
        if train_size == Some(0) {
            return Err(Error::rejected("the training size is 0: give at least 1 sentence"));
        }
        reviews.shuffle(&mut seed.split(Stream::Order, &[]).rng());
        let (part, parts) = match held_out {
            HeldOut::Tenth => (0, 10),
            HeldOut::Fold(fold) => (fold as usize, FOLDS as usize),
        };
        if part >= parts || reviews.len() < parts {
            return Err(Error::rejected(format!(
                "part {part} of {parts} parts of {} sentences: give at least {parts} sentences, \
                 and count parts from 0",
                reviews.len()
            )));
        }
        let bound = |part: usize| reviews.len() * part / parts;
        let held_out: Vec<Review> = reviews.drain(bound(part)..bound(part + 1)).collect();
        let train_size = train_size.and_then(|size| usize::try_from(size).ok());
        reviews.truncate(train_size.unwrap_or(usize::MAX));
        let vocabulary = Vocabulary::of(reviews.iter().map(|review| review.words.as_slice()));
        Ok(Self {
            train: pack(&reviews, &vocabulary)?,
            held_out: pack(&held_out, &vocabulary)?,
            vocabulary,
        })
    }
}

/// The examples as the network reads them.
fn pack(reviews: &[Review], vocabulary: &Vocabulary) -> Result<MemorySource> {
    let mut bytes = Vec::with_capacity(reviews.len() * RECORD);
    for review in reviews {
        bytes.push(review.label);
        let words = review.words.iter().map(|word| vocabulary.token(word));
        for token in words.chain(std::iter::repeat(PADDING)).take(LENGTH) {
            bytes.extend(token.to_le_bytes());
        }
    }
    MemorySource::new(bytes, RECORD)
}

/// Reads a file with a label (0 or 1), a tab and a sentence on each line, in UTF-8, gzipped or not.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] when the file cannot be opened or
/// read, and [`ErrorKind::Corrupt`], with the file and the line,
/// when it is damaged or a line is something else.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Review>> {
    let path = path.as_ref();
    let cannot_read = |error| {
        let message = format!(
            "cannot read the data file {}: name a file of labelled sentences with --data; this \
             repository has {BUNDLED}",
            path.display()
        );
        Error::new(ErrorKind::Other, message).with_source(error)
    };
    let mut file = BufReader::new(File::open(path).map_err(cannot_read)?);
    let compressed = file.fill_buf().map_err(cannot_read)?.starts_with(&[0x1f, 0x8b]);
    let mut bytes = Vec::new();
    if compressed {
        MultiGzDecoder::new(file).read_to_end(&mut bytes).map_err(|error| {
            let message = format!("{} is truncated or damaged; copy it again", path.display());
            Error::new(ErrorKind::Corrupt, message).with_source(error)
        })?;
    } else {
        file.read_to_end(&mut bytes).map_err(cannot_read)?;
    }
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let lines = bytes.split(|&byte| byte == b'\n').zip(1_u64..);
    lines
        .map(|(line, number)| {
            review(line).map_err(|problem| {
                let message = format!("line {number} of {} {problem}", path.display());
                Error::new(ErrorKind::Corrupt, message)
            })
        })
        .collect()
}

/// The review on a line, or what is wrong with the line, and the remedy.
fn review(line: &[u8]) -> Result<Review, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8: convert the file")?;
    let (label, sentence) =
        line.split_once('\t').ok_or("has no tab: write a label, a tab and a sentence")?;
    let label = label.parse().ok().filter(|&label| label < CLASSES);
    let label = label.ok_or("has a label other than 0 and 1: write 1 for a positive sentence")?;
    let words: Vec<String> = tokens(sentence).collect();
    if words.is_empty() {
        return Err("has a sentence without words: leave it out");
    }
    Ok(Review { label, words })
}

const BUNDLED: &str = "data/movie-reviews/rt-polarity-4k.tsv.gz";

/// The file with the bundled reviews: below the working directory, or in the source tree.
pub fn bundled() -> PathBuf {
    let here = PathBuf::from(BUNDLED);
    if here.exists() {
        here
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(BUNDLED)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use siren_core::DataSource;

    use super::*;

    fn some(count: usize) -> Vec<Review> {
        let label = |i| (i % 2) as u8;
        (0..count)
            .map(|i| Review { label: label(i), words: tokens(&format!("w{i} and w{i}")).collect() })
            .collect()
    }

    fn split(held_out: HeldOut, train_size: Option<u64>) -> Reviews {
        Reviews::new(some(103), Seed::new(1), held_out, train_size).unwrap()
    }

    #[test]
    fn every_review_is_held_out_in_one_fold_and_trained_on_in_the_others() {
        let mut held_out = 0;
        for fold in 0..FOLDS {
            let reviews = split(HeldOut::Fold(fold), None);
            assert_eq!(reviews.train.len() + reviews.held_out.len(), 103);
            // Each trained review has its own word, beside `and`, the unknown and the padding;
            // the words of held-out reviews are unknown.
            assert_eq!(reviews.vocabulary.len() as u64, reviews.train.len() + 3);
            let words: HashSet<&[u8]> =
                reviews.train.records().map(|record| &record[1..3]).collect();
            assert_eq!(words.len() as u64, reviews.train.len());
            assert!(reviews.held_out.records().all(|record| record[1..3] == [1, 0]));
            held_out += reviews.held_out.len();
        }
        assert_eq!(held_out, 103);
    }

    #[test]
    fn a_tenth_is_held_out_and_the_training_part_can_be_cut() {
        let reviews = split(HeldOut::Tenth, Some(20));
        assert_eq!((reviews.train.len(), reviews.held_out.len()), (20, 10));
        assert_eq!(reviews.vocabulary.len(), 23);
    }

    #[test]
    fn the_seed_decides_who_is_held_out() {
        let held_out = |seed| {
            let reviews = Reviews::new(some(103), Seed::new(seed), HeldOut::Tenth, None).unwrap();
            reviews.held_out.records().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(held_out(1), held_out(1));
        assert_ne!(held_out(1), held_out(2));
    }

    #[test]
    fn too_few_reviews_are_refused() {
        for (count, held_out) in [
            (9, HeldOut::Tenth),
            (4, HeldOut::Fold(0)),
            (99, HeldOut::Fold(5)),
            (0, HeldOut::Tenth),
        ] {
            assert!(Reviews::new(some(count), Seed::new(1), held_out, None).is_err());
        }
        assert!(Reviews::new(some(50), Seed::new(1), HeldOut::Tenth, Some(0)).is_err());
    }

    #[test]
    fn the_bundled_reviews_are_4_000_one_half_of_each_class() {
        let reviews = read(bundled()).unwrap();
        assert_eq!(reviews.len(), 4_000);
        assert_eq!(reviews.iter().filter(|review| review.label == 1).count(), 2_000);
        let longest = reviews.iter().map(|review| review.words.len()).max().unwrap();
        assert!(longest <= LENGTH, "{longest}");
        assert_eq!(reviews[2].words, ["effective", "but", "too", "tepid", "biopic"]);
    }

    #[test]
    fn a_sentence_is_packed_as_label_and_tokens_and_cut() {
        let long = Review { label: 1, words: vec!["a".into(); 100] };
        let vocabulary = Vocabulary::of([long.words.as_slice()]);
        let source = pack(&[long], &vocabulary).unwrap();
        let record = source.records().next().unwrap();
        assert_eq!(record[0], 1);
        assert!(record[1..].chunks(2).all(|token| token == [2, 0]));
        assert_eq!(record.len(), RECORD);
    }
}
