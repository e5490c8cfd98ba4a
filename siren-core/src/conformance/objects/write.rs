//! Writing and deleting.

use std::collections::HashSet;

use super::Subject;
use crate::conformance::drive::cancel_after;
use crate::objects::{Fetched, Tag, Written};

/// An existing object cannot be created, and the attempt changes nothing. After a deletion it can
/// be created again.
pub fn an_object_is_created_once(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let tag = objects.create("key", b"first").await;
        for bytes in [&b"second"[..], b"first", b""] {
            assert_eq!(objects.put_if_absent("key", bytes).await, Written::Refused);
            objects.expect("key", b"first", &tag).await;
        }
        objects.delete(&["key"]).await;
        let tag = objects.create("key", b"third").await;
        objects.expect("key", b"third", &tag).await;
    });
}

/// A replacement with an earlier tag or that of another object is refused and changes nothing. The
/// replacement of a missing object is refused, too.
pub fn an_object_is_replaced_only_if_unchanged(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let other = objects.create("other", b"other").await;
        let first = objects.create("key", b"first").await;
        let second = objects.replace("key", &first, b"second").await;
        for known in [&first, &other] {
            let written = objects.put_if_unchanged("key", known, b"third").await;
            assert_eq!(written, Written::Refused);
            objects.expect("key", b"second", &second).await;
        }
        objects.delete(&["key"]).await;
        let written = objects.put_if_unchanged("key", &second, b"third").await;
        assert_eq!(written, Written::Refused);
        objects.expect_missing("key").await;
    });
}

/// States of an object with different bytes have different tags, even if the bytes have the same
/// length.
pub fn other_bytes_have_another_tag(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let mut tag = objects.create("key", b"0").await;
        let mut tags = HashSet::from([tag.clone()]);
        for bytes in [&b"1"[..], b"2", b"", b"10", b"01"] {
            tag = objects.replace("key", &tag, bytes).await;
            assert!(tags.insert(tag.clone()), "the tag {tag} is used again, for {bytes:?}");
        }
    });
}

/// An object that is created again with other bytes after a deletion has a new tag. Readers and
/// writers with an earlier tag notice the change.
pub fn a_deletion_does_not_bring_tags_back(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        let mut tags: Vec<Tag> = Vec::new();
        for state in 0..3 {
            let tag = objects.create("key", format!("state {state}").as_bytes()).await;
            for earlier in &tags {
                assert_ne!(&tag, earlier, "a tag from before the deletion");
                let found = objects.get("key", Some(earlier)).await;
                assert!(matches!(found, Fetched::Changed { .. }), "{found:?}");
                let written = objects.put_if_unchanged("key", earlier, b"late").await;
                assert_eq!(written, Written::Refused);
            }
            tags.push(tag);
            objects.delete(&["key"]).await;
        }
    });
}

/// A deleted object is missing in every read and every listing. All other objects stay, also those
/// whose keys begin with its key.
pub fn deleted_objects_are_gone(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        for key in ["a/0", "a/00", "a/1", "b"] {
            objects.create(key, key.as_bytes()).await;
        }
        objects.delete(&["a/0", "a/1"]).await;
        for key in ["a/0", "a/1"] {
            objects.expect_missing(key).await;
            assert_eq!(objects.get_start(key, None, 1).await, Fetched::Missing);
            assert_eq!(objects.get_range(key, 0, 1).await, None);
        }
        objects.expect_keys("", None, &["a/00", "b"]).await;
        assert_eq!(objects.read("a/00").await.0, b"a/00");
    });
}

/// A deletion skips keys without an object. Its list of keys may be empty.
pub fn missing_objects_can_be_deleted(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        objects.create("a", b"a").await;
        objects.create("b", b"b").await;
        objects.delete(&[]).await;
        objects.delete(&["missing"]).await;
        objects.delete(&["also/missing", "a", "missing"]).await;
        objects.delete(&["a"]).await;
        objects.expect_keys("", None, &["b"]).await;
    });
}

/// A write that is cancelled at any point has happened either as a whole or not at all.
pub fn a_cancelled_write_happens_whole_or_not_at_all(subject: &Subject) {
    let (old, new) = (vec![1; 3_000], vec![2; 5_000]);
    subject.run(async {
        let objects = subject.make().await;
        for polls in 0..4 {
            let key = format!("created-{polls}");
            let done = cancel_after(polls, objects.put_if_absent(&key, &new)).await;
            match objects.get(&key, None).await {
                Fetched::Changed { bytes, .. } => assert!(bytes == new, "after {polls} polls"),
                missing => assert!(done.is_none(), "{missing:?} after a creation"),
            }
            let key = format!("replaced-{polls}");
            let tag = objects.create(&key, &old).await;
            let done = cancel_after(polls, objects.put_if_unchanged(&key, &tag, &new)).await;
            let (bytes, _) = objects.read(&key).await;
            let is_old = done.is_none() && bytes == old;
            assert!(is_old || bytes == new, "neither state after {polls} polls");
        }
    });
}
