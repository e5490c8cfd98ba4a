//! The readers of CSV and libsvm, and their errors for bad input.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use siren_core::{Entry, ErrorKind, Result};
use siren_data::libsvm::Examples;
use siren_data::{DenseTable, SparseExample, SparseTable, Standardisation, csv, libsvm};

fn example(positive: bool, features: &[(u32, f32)]) -> SparseExample {
    let features = features.iter().map(|&(index, value)| Entry { index, value }).collect();
    SparseExample { positive, features }
}

fn examples(text: &str) -> Vec<SparseExample> {
    Examples::new(text.as_bytes(), "text", None).collect::<Result<_>>().unwrap()
}

/// Asserts that an error has all these words and the file's name.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, words: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    for word in ["some.data"].iter().chain(words) {
        assert!(error.message().contains(word), "no {word:?} in: {error}");
    }
}

#[test]
fn a_libsvm_text_becomes_examples() {
    let text = "# a comment\n\n1 1:0.5 3:-2e-1 # more\n  0\t2:1 \r\n+1\n1.0 7:1";
    let expected = [
        example(true, &[(0, 0.5), (2, -0.2)]),
        example(false, &[(1, 1.0)]),
        example(true, &[]),
        example(true, &[(6, 1.0)]),
    ];
    assert_eq!(examples(text), expected);
    assert_eq!(
        examples("-1 1:1\n+1 1:1"),
        [example(false, &[(0, 1.0)]), example(true, &[(0, 1.0)])]
    );
    assert_eq!(examples("\u{feff}0\n"), [example(false, &[])]);
    assert_eq!(examples("# nothing\n"), []);
}

#[test]
fn a_table_has_the_features_asked_for_or_those_there_are() {
    let table = |features| libsvm::parse("1 2:1\n0 5:1\n".as_bytes(), "some.data", features);
    assert_eq!(table(None).unwrap().features, 5);
    let more = table(Some(9)).unwrap();
    assert_eq!((more.features, more.positives, more.source.records().len()), (9, 1, 2));
    refused(table(Some(4)), &["line 2", "\"5:1\"", "largest index, 4"]);
    assert!(SparseTable::pack([Ok(example(true, &[(4, 1.0)]))], Some(4)).is_err());
}

#[test]
fn each_bad_libsvm_line_is_named_with_a_remedy() {
    let cases: [(&str, &[&str]); 17] = [
        ("0:1", &["\"0:1\"", "label", "first"]),
        ("3 1:1", &["label \"3\"", "two classes"]),
        ("nan 1:1", &["label \"nan\""]),
        ("-1 1:1", &["label \"-1\"", "both 0 and -1"]),
        ("1 0:1", &["\"0:1\"", "count from 1"]),
        ("1 2:1 1:1", &["\"1:1\"", "out of order", "sort"]),
        ("1 2:1 2:3", &["\"2:3\"", "twice"]),
        ("1 2:nan", &["\"2:nan\"", "finite"]),
        ("1 2:inf", &["finite"]),
        ("1 2:1e39", &["finite"]),
        ("1 2:", &["finite"]),
        ("1 2", &["\"2\"", "index:value"]),
        ("1 x:2", &["\"x:2\"", "whole number"]),
        ("1 :2", &["\":2\"", "whole number"]),
        ("1 qid:2 1:1", &["\"qid:2\"", "whole number"]),
        ("1 -2:1", &["\"-2:1\"", "whole number"]),
        ("1 4294967296:1", &["indices go up to"]),
    ];
    for (line, words) in cases {
        let text = format!("0 1:1\n# comment\n{line}\n1 1:1\n");
        refused(libsvm::parse(text.as_bytes(), "some.data", None), &[&["line 3"], words].concat());
    }
    let text = b"0 1:1\n1 \xff:1\n";
    refused(libsvm::parse(&text[..], "some.data", None), &["line 2", "no text"]);
}

#[test]
fn reading_ends_after_an_error() {
    let results: Vec<_> = Examples::new("1\n2\n1\n".as_bytes(), "text", None).collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_csv_text_becomes_a_table() {
    let table = DenseTable::new(vec![1.0, 0.5, -2.0, 0.0, 1.0, 3.0], 2).unwrap();
    for text in [
        "1,0.5,-2\n0,1,3",
        "label,height,width\n1,0.5,-2\n0,1,3\n",
        "# comment\n\n+1, \"0.5\", -2e0\r\n\r\n-1, 1, 3\r\n",
        "\u{feff}1,0.5,-2\n0,1,3\n",
    ] {
        assert_eq!(csv::parse(text.as_bytes(), "text").unwrap(), table, "{text:?}");
    }
    assert_eq!((table.examples(), table.features(), table.positives()), (2, 2, 1));
}

#[test]
fn each_bad_csv_row_is_named_with_a_remedy() {
    let cases: [(&str, &[&str]); 8] = [
        ("1,2", &["2 columns", "rows above have 3"]),
        ("1,2,3,4", &["4 columns", "make all rows alike"]),
        ("2,2,3", &["label \"2\"", "two classes"]),
        (",2,3", &["label \"\""]),
        ("-1,2,3", &["label \"-1\"", "both 0 and -1"]),
        ("1,,3", &["column 2", "\"\"", "every column"]),
        ("1,2,nan", &["column 3", "finite"]),
        ("1,2,x", &["column 3", "\"x\""]),
    ];
    for (row, words) in cases {
        let text = format!("0,1,1\n\n{row}\n1,1,1\n");
        refused(csv::parse(text.as_bytes(), "some.data"), &[&["line 3"], words].concat());
    }
    refused(csv::parse("1\n0\n".as_bytes(), "some.data"), &["line 1", "label,feature"]);
    refused(csv::parse(&b"0,1\n1,\xff\n"[..], "some.data"), &["line 2", "no text"]);
    refused(csv::parse("label,height\n".as_bytes(), "some.data"), &["no examples"]);
}

#[test]
fn files_may_be_compressed_and_damaged_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.data");
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
    let packed = |text: &str| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text.as_bytes()).unwrap();
        packer.finish().unwrap()
    };
    let text = "1 1:1\n0 2:1\n".repeat(1_000);
    for bytes in [text.clone().into_bytes(), packed(&text)] {
        write(&bytes);
        let table = libsvm::read(&path, None).unwrap();
        assert_eq!((table.source.records().len(), table.positives), (2_000, 1_000));
    }
    let rows = "1,1\n0,2\n".repeat(1_000);
    for bytes in [rows.clone().into_bytes(), packed(&rows)] {
        write(&bytes);
        assert_eq!(csv::read(&path).unwrap().examples(), 2_000);
    }
    for text in [text, rows] {
        let whole = packed(&text);
        write(&whole[..whole.len() - 9]);
        refused(libsvm::read(&path, None), &["line"]);
        refused(csv::read(&path), &["line"]);
    }
    for empty in [b"".to_vec(), b"\n# nothing\n".to_vec(), packed("")] {
        write(&empty);
        refused(libsvm::read(&path, None), &["no examples"]);
        refused(csv::read(&path), &["no examples"]);
    }
    std::fs::remove_file(&path).unwrap();
    let missing = libsvm::read(&path, None).unwrap_err();
    assert!(missing.message().contains("some.data"), "{missing}");
}

#[test]
fn a_table_of_anything_else_is_refused() {
    for (numbers, features) in [
        (vec![], 1),
        (vec![1.0, 2.0, 3.0], 1),
        (vec![1.0, 2.0], 0),
        (vec![2.0, 2.0], 1),
        (vec![1.0, f32::NAN], 1),
        (vec![1.0, 2.0], usize::MAX),
    ] {
        assert!(DenseTable::new(numbers.clone(), features).is_err(), "{numbers:?}");
    }
    let mut one = DenseTable::new(vec![1.0, 2.0], 1).unwrap();
    let two = DenseTable::new(vec![1.0, 2.0, 3.0], 2).unwrap();
    assert!(Standardisation::of(&two).apply(&mut one).is_err());
    assert!(example(true, &[(2, 1.0), (1, 1.0)]).pack(&mut Vec::new()).is_err());
    assert!(example(true, &[(2, f32::NAN)]).pack(&mut Vec::new()).is_err());
}

/// Features far from zero, for which single precision would lose the deviation, and a constant one.
#[test]
fn standardised_features_have_mean_zero_and_deviation_one() {
    let row = |i: u32| [(i % 2) as f32, 1e6 + i as f32, 0.1, (i as f32).powi(2)];
    let mut table = DenseTable::new((0..1_000).flat_map(row).collect(), 3).unwrap();
    let scale = Standardisation::of(&table);
    assert_eq!(scale.deviations()[1], 1.0);
    assert!((scale.means()[0] - 1_000_499.5).abs() < 1e-6);
    scale.apply(&mut table).unwrap();
    for feature in [1, 3] {
        let values = (0..1_000).map(|i| f64::from(table.row(i)[feature]));
        let (sum, squares) = values.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
        assert!(sum.abs() < 1e-2 && (squares / 1_000.0 - 1.0).abs() < 1e-5, "{sum} {squares}");
    }
    assert!((0..1_000).all(|i| table.row(i)[2].abs() < 1e-6));
    assert_eq!(table.positives(), 500, "labels are left alone");
}
