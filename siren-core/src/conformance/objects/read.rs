//! Reading.

use super::{Subject, changed};
use crate::objects::Fetched;

/// An object that was never written is missing for every kind of read, with and without a known
/// tag.
pub fn a_missing_object_is_missing(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let tag = objects.create("other", b"other").await;
        for known in [None, Some(&tag)] {
            assert_eq!(objects.get("key", known).await, Fetched::Missing, "{known:?}");
            assert_eq!(objects.get_start("key", known, 4).await, Fetched::Missing, "{known:?}");
        }
        for (start, end) in [(0, 1), (3, 3), (100, 200)] {
            assert_eq!(objects.get_range("key", start, end).await, None, "{start}..{end}");
        }
    });
}

/// A read sees the last answered write, with its tag.
pub fn a_write_is_read(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let mut tag = objects.create("key", b"state 0").await;
        objects.expect("key", b"state 0", &tag).await;
        for state in 1..4 {
            let bytes = format!("state {state}");
            tag = objects.replace("key", &tag, bytes.as_bytes()).await;
            objects.expect("key", bytes.as_bytes(), &tag).await;
            assert_eq!(
                objects.get_range("key", 6, 7).await.as_deref(),
                Some(&bytes.as_bytes()[6..])
            );
        }
    });
}

/// A read with the current tag gets no bytes, and one with another tag gets them.
pub fn a_known_object_is_unchanged(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let first = objects.create("key", b"first").await;
        let other = objects.create("other", b"other").await;
        assert_eq!(objects.get("key", Some(&first)).await, Fetched::Unchanged);
        assert_eq!(objects.get_start("key", Some(&first), 2).await, Fetched::Unchanged);
        let second = objects.replace("key", &first, b"second").await;
        for known in [&first, &other] {
            let found = changed("key", objects.get("key", Some(known)).await);
            assert_eq!(found, (b"second".to_vec(), second.clone()));
            let found = changed("key", objects.get_start("key", Some(known), 3).await);
            assert_eq!(found, (b"sec".to_vec(), second.clone()));
        }
        assert_eq!(objects.get("key", Some(&second)).await, Fetched::Unchanged);
    });
}

/// The start of an object has the requested length, or that of the object if it is shorter.
pub fn a_start_ends_at_its_length(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        objects.create("key", b"0123456789").await;
        for length in [0, 1, 4, 10, 11, 1_000, u64::MAX] {
            let (bytes, _) = changed("key", objects.get_start("key", None, length).await);
            assert_eq!(bytes, b"0123456789"[..length.min(10) as usize], "a start of {length}");
        }
    });
}

/// The tag of an object's start is that of the whole object: it can be used to read and to replace
/// the object.
pub fn a_start_has_the_tag_of_the_object(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let first = objects.create("key", b"same start, first").await;
        let (_, tag) = changed("key", objects.get_start("key", None, 4).await);
        assert_eq!(tag, first);
        assert_eq!(objects.get("key", Some(&tag)).await, Fetched::Unchanged);
        let second = objects.replace("key", &tag, b"same start, second").await;
        let found = changed("key", objects.get_start("key", Some(&tag), 4).await);
        assert_eq!(found, (b"same".to_vec(), second));
    });
}

/// A range has the bytes from its start to its end, or to the object's end if that comes first. A
/// range without bytes, or past the end, is empty.
pub fn a_range_ends_where_the_object_does(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        objects.create("key", b"0123456789").await;
        for (start, end, expected) in [
            (0, 10, "0123456789"),
            (3, 6, "345"),
            (8, 1 << 40, "89"),
            (10, 12, ""),
            (70, 99, ""),
            (4, 4, ""),
        ] {
            let bytes = objects.get_range("key", start, end).await;
            assert_eq!(bytes.as_deref(), Some(expected.as_bytes()), "{start}..{end}");
        }
    });
}

/// An object without bytes exists.
pub fn an_empty_object_is_an_object(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let tag = objects.create("key", b"").await;
        objects.expect("key", b"", &tag).await;
        assert_eq!(objects.get("key", Some(&tag)).await, Fetched::Unchanged);
        let start = changed("key", objects.get_start("key", None, 4).await);
        assert_eq!(start, (Vec::new(), tag.clone()));
        assert_eq!(objects.get_range("key", 0, 4).await, Some(Vec::new()));
        objects.expect_keys("", None, &["key"]).await;
        let tag = objects.replace("key", &tag, b"full").await;
        let tag = objects.replace("key", &tag, b"").await;
        objects.expect("key", b"", &tag).await;
    });
}

/// An object of several megabytes with all byte values is read as it was written, whole and in
/// parts.
pub fn a_large_object_is_read_as_it_was_written(subject: &Subject) {
    const LENGTH: usize = (5 << 20) + 3;
    subject.run(async {
        let objects = subject.make().await;
        let bytes: Vec<u8> = (0..LENGTH).map(|i| (i + i / 251) as u8).collect();
        let tag = objects.create("key", &bytes).await;
        objects.expect("key", &bytes, &tag).await;
        let half = LENGTH as u64 / 2;
        let start = changed("key", objects.get_start("key", None, half).await);
        assert!(start == (bytes[..LENGTH / 2].to_vec(), tag), "the first half differs");
        let rest = objects.get_range("key", half, LENGTH as u64).await;
        assert!(rest.as_deref() == Some(&bytes[LENGTH / 2..]), "the second half differs");
    });
}

/// Different keys have different objects, also if they differ only in case, length, a dot, a dash,
/// an underscore or a slash.
pub fn every_key_has_its_own_object(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let keys = [
            "0",
            "00",
            "a",
            "A",
            "ab",
            "a.b",
            "a-b",
            "a_b",
            "dir/0",
            "dir/00",
            "dir/deep/a.b-c_d/9",
            "runs/2024-11-30.1/update/00000000000000000007/0000000012",
        ];
        for key in keys {
            objects.create(key, key.as_bytes()).await;
        }
        for key in keys {
            let (bytes, _) = objects.read(key).await;
            assert_eq!(String::from_utf8_lossy(&bytes), key);
        }
    });
}
