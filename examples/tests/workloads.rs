//! The examples' workloads keep their contract: gradients against finite differences, among others.

#![allow(dead_code, unreachable_pub, reason = "the examples are programs of their own")]

use siren_burn::BurnWorkload;
use siren_core::conformance::{data, data_tests, workload, workload_tests};
use siren_core::{DataSource, Layout, Seed};
use siren_examples::sentences::reviews::{HeldOut, Reviews, read};
use siren_examples::sentences::{SentenceLearner, reviews};
use siren_lenet::{DigitLearner, RECORD};

#[path = "../custom_workload.rs"]
mod custom_workload;
#[path = "../quickstart.rs"]
mod quickstart;

/// A few digits that are no noise: a bar at a height that goes with the label.
fn digits() -> Vec<Vec<u8>> {
    let digit = |label: u8| {
        let mut record = vec![0; RECORD];
        record[0] = label;
        record[1 + 84 * usize::from(label)..][..84].fill(200);
        record
    };
    (0..4).map(digit).collect()
}

fn floats(row: &[f32]) -> Vec<u8> {
    row.iter().flat_map(|x| x.to_le_bytes()).collect()
}

workload_tests!(
    lenet,
    workload::Subject::new(BurnWorkload::new(DigitLearner).unwrap(), digits()).tolerance(0.05)
);

/// A few of the bundled reviews, and the vocabulary that they are packed by.
fn sentence_cnn() -> workload::Subject {
    let all = read(reviews::bundled()).unwrap();
    let part = Reviews::new(all, Seed::new(1), HeldOut::Tenth, Some(40)).unwrap();
    let learner = SentenceLearner::new(part.vocabulary.len());
    let records = part.train.records().take(5).map(<[u8]>::to_vec).collect();
    workload::Subject::new(BurnWorkload::new(learner).unwrap(), records).draws().tolerance(0.05)
}

workload_tests!(sentence_cnn, sentence_cnn());

workload_tests!(
    logistic,
    workload::Subject::new(
        quickstart::Logistic(Layout::flat("weights", 20).unwrap()),
        [(0.1, 0.0), (-0.2, 1.0), (0.05, 1.0), (0.3, 0.0)]
            .map(|(x, label)| floats(&[&[x; 20][..], &[label]].concat()))
            .to_vec()
    )
);

workload_tests!(
    network,
    workload::Subject::new(
        custom_workload::Network::new().unwrap(),
        [[0.1, 0.9, 1.0], [-0.7, 0.2, 0.0], [0.3, -0.4, 1.0], [-0.1, -0.8, 0.0]]
            .map(|row| floats(&row))
            .to_vec()
    )
);

data_tests!(spirals, data::Subject::new(custom_workload::Spirals { seed: Seed::new(1), len: 99 }));

#[test]
fn the_bundled_images_are_mnist() {
    let (train, test) =
        siren_examples::mnist::load(&siren_examples::mnist::bundled(), None).unwrap();
    assert_eq!((train.len(), test.len(), train.record_len()), (60_000, 10_000, RECORD));
    let bytes = block_on(train.fetch(0..60_000));
    let mut counts = [0; 10];
    for record in bytes.chunks_exact(RECORD) {
        counts[usize::from(record[0])] += 1;
    }
    assert_eq!(counts, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
}

#[test]
fn the_bundled_tables_are_whole() {
    use siren_examples::tables::{self, Clicks};
    for (clicks, train_size, sizes, features) in [
        (Clicks::CensusKdd, None, (60_000, 20_000), 552),
        (Clicks::ObdClick, Some(1_000), (1_000, 12_000), 419),
    ] {
        let folder = tables::bundled_clicks();
        let (train, test) = tables::load_clicks(&folder, clicks, train_size).unwrap();
        assert_eq!((train.source.len(), test.source.len()), sizes, "{clicks}");
        assert_eq!((train.features, test.features), (features, features), "{clicks}");
    }
    let higgs = tables::load_higgs(&tables::bundled_higgs(), None).unwrap();
    assert_eq!((higgs.train.len(), higgs.test.len(), higgs.features), (10_000, 2_000, 28));
    let missing = tables::load_higgs(&tables::bundled_clicks(), None).unwrap_err();
    assert!(missing.message().contains("higgs.train.csv.gz"), "{missing}");
}

fn block_on<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future).unwrap()
}
