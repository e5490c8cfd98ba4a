use proptest::prelude::*;

use super::*;

fn update(gradient: Gradient<'_>) -> Update<'_> {
    Update {
        id: UpdateId { epoch: 3, shard: 5, position: 8 },
        batches: 2,
        examples: 61,
        loss: 12.5,
        version: 77,
        squared_norm: 0.75,
        gradient,
    }
}

fn encoded(update: &Update<'_>) -> Vec<u8> {
    let mut bytes = vec![1, 2, 3];
    encode(update, &mut bytes);
    bytes
}

/// Overwrites the bytes from `at`, and corrects the checksum.
fn forge(mut bytes: Vec<u8>, at: usize, with: &[u8]) -> Vec<u8> {
    bytes[at..at + with.len()].copy_from_slice(with);
    sign(bytes)
}

fn sign(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - CHECKSUM;
    let checksum = xxh3_64(&bytes[..body]);
    bytes[body..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn same(a: &Update<'_>, b: &Update<'_>) -> bool {
    let head = |u: &Update<'_>| {
        (u.id, u.batches, u.examples, u.version, u.loss.to_bits(), u.squared_norm.to_bits())
    };
    head(a) == head(b) && a.gradient == b.gradient
}

fn is_refused(bytes: &[u8], kind: ErrorKind) -> bool {
    Decoder::new().decode(bytes).is_err_and(|error| error.kind() == kind)
}

/// Values with every finite bit pattern.
fn values(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f32>> {
    let number = prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO;
    prop::collection::vec(number, count)
}

/// A length, and entries of a vector of that length.
fn sparse() -> impl Strategy<Value = (usize, Vec<Entry>)> {
    let indices = prop::collection::btree_set(any::<u32>(), 0..50);
    (indices, values(50..51), any::<u16>()).prop_map(|(indices, values, more)| {
        let dim = indices.last().map_or(0, |&last| last as usize + 1) + usize::from(more);
        let entries = indices.into_iter().zip(values);
        (dim, entries.map(|(index, value)| Entry { index, value }).collect())
    })
}

proptest! {
    #[test]
    fn a_dense_update_survives(
        values in values(0..100),
        head in any::<(u64, u32, u64, u64, u64, u64)>(),
        sums in (prop::num::f64::NORMAL, prop::num::f64::POSITIVE),
    ) {
        let (epoch, shard, position, batches, examples, version) = head;
        let update = Update {
            id: UpdateId { epoch, shard, position },
            batches,
            examples,
            loss: sums.0,
            version,
            squared_norm: sums.1,
            gradient: Gradient::Dense(&values),
        };
        let bytes = encoded(&update);
        prop_assert_eq!(bytes.len(), encoded_len(&update.gradient));
        // Also when another update was decoded before.
        let mut decoder = Decoder { values: vec![9.0; 7], entries: vec![Entry::default(); 3] };
        prop_assert!(same(&decoder.decode(&bytes).unwrap(), &update));
    }

    #[test]
    fn a_sparse_update_survives((dim, entries) in sparse()) {
        let update = update(Gradient::Sparse(SparseSlice::new(dim, &entries).unwrap()));
        let bytes = encoded(&update);
        prop_assert_eq!(bytes.len(), encoded_len(&update.gradient));
        prop_assert!(same(&Decoder::new().decode(&bytes).unwrap(), &update));
    }

    #[test]
    fn a_changed_byte_is_noticed(
        (dim, entries) in sparse(),
        at in any::<prop::sample::Index>(),
        flip in 1..=u8::MAX,
    ) {
        let update = update(Gradient::Sparse(SparseSlice::new(dim, &entries).unwrap()));
        let mut bytes = encoded(&update);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let kind = if (8..12).contains(&at) { ErrorKind::Rejected } else { ErrorKind::Corrupt };
        prop_assert!(is_refused(&bytes, kind));
    }

    #[test]
    fn a_wrong_length_is_noticed(
        values in values(0..20),
        cut in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let bytes = encoded(&update(Gradient::Dense(&values)));
        let short = &bytes[..cut.index(bytes.len())];
        prop_assert!(is_refused(short, ErrorKind::Corrupt));
        let long = [&bytes[..], &more].concat();
        prop_assert!(is_refused(&long, ErrorKind::Corrupt));
        // Also with a correct checksum.
        if short.len() >= HEADER + CHECKSUM {
            prop_assert!(is_refused(&sign(short.to_vec()), ErrorKind::Corrupt));
        }
        prop_assert!(is_refused(&sign(long), ErrorKind::Corrupt));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), signed in any::<bool>()) {
        let mut bytes = bytes;
        if signed && bytes.len() >= HEADER + CHECKSUM {
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
            bytes = sign(bytes);
        }
        prop_assert!(Decoder::new().decode(&bytes).is_err());
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused(
        values in values(1..50),
        at in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let mut values = values;
        let at = at.index(values.len());
        values[at] = bad;
        let bytes = encoded(&update(Gradient::Dense(&values)));
        prop_assert!(is_refused(&bytes, ErrorKind::Diverged));
        let entries = (0..).zip(&values).map(|(index, &value)| Entry { index, value });
        let entries: Vec<_> = entries.collect();
        let sparse = SparseSlice::new(values.len(), &entries).unwrap();
        prop_assert!(is_refused(&encoded(&update(Gradient::Sparse(sparse))), ErrorKind::Diverged));
    }

    #[test]
    fn indices_that_do_not_rise_are_refused((dim, entries) in sparse(), at in any::<prop::sample::Index>()) {
        prop_assume!(entries.len() >= 2);
        let bytes = encoded(&update(Gradient::Sparse(SparseSlice::new(dim, &entries).unwrap())));
        let at = at.index(entries.len() - 1);
        let place = |entry: usize| HEADER + 4 * entry;
        let index = |entry: usize| entries[entry].index.to_le_bytes();
        let repeated = forge(bytes.clone(), place(at + 1), &index(at));
        prop_assert!(is_refused(&repeated, ErrorKind::Corrupt));
        let swapped = forge(bytes.clone(), place(at), &index(at + 1));
        let swapped = forge(swapped, place(at + 1), &index(at));
        prop_assert!(is_refused(&swapped, ErrorKind::Corrupt));
        let last = entries.len() - 1;
        if let Ok(outside) = u32::try_from(dim) {
            let outside = forge(bytes, place(last), &outside.to_le_bytes());
            prop_assert!(is_refused(&outside, ErrorKind::Corrupt));
        }
    }
}

#[test]
fn forged_fields_are_refused() {
    let bytes = encoded(&update(Gradient::Dense(&[1.0, 2.0])));
    Decoder::new().decode(&bytes).unwrap();
    let nan = f64::NAN.to_le_bytes();
    for (what, at, with, kind) in [
        ("another name", 0, b"SIRENUPP".as_slice(), ErrorKind::Corrupt),
        ("a version to come", 8, &[2], ErrorKind::Rejected),
        ("an unknown form", 12, &[2], ErrorKind::Corrupt),
        ("dense as sparse", 12, &[1], ErrorKind::Corrupt),
        ("the loss", 52, &nan, ErrorKind::Diverged),
        ("the norm", 68, &nan, ErrorKind::Diverged),
        ("fewer parameters", 76, &[1], ErrorKind::Corrupt),
        ("fewer entries", 84, &[1], ErrorKind::Corrupt),
        ("very many entries", 84, &[255; 8], ErrorKind::Corrupt),
    ] {
        assert!(is_refused(&forge(bytes.clone(), at, with), kind), "{what}");
    }
}

/// The format stays the same: bytes written by an earlier version can be read.
#[test]
fn version_1_stays_readable() {
    let entries = [Entry { index: 1, value: 0.5 }, Entry { index: 70_000, value: -2.0 }];
    let update = update(Gradient::Sparse(SparseSlice::new(100_000, &entries).unwrap()));
    let mut expected = b"SIRENUPD".to_vec();
    for field in [1_u32, 1] {
        expected.extend(field.to_le_bytes());
    }
    expected.extend(3_u64.to_le_bytes());
    expected.extend(5_u32.to_le_bytes());
    for field in [8, 2, 61, 12.5_f64.to_bits(), 77, 0.75_f64.to_bits(), 100_000, 2] {
        expected.extend(field.to_le_bytes());
    }
    for field in [1_u32, 70_000, 0.5_f32.to_bits(), (-2.0_f32).to_bits()] {
        expected.extend(field.to_le_bytes());
    }
    assert_eq!(expected.len(), HEADER + 16);
    let bytes = encoded(&update);
    assert_eq!(bytes[..bytes.len() - CHECKSUM], expected);
    assert_eq!(bytes[bytes.len() - CHECKSUM..], xxh3_64(&expected).to_le_bytes());
}
