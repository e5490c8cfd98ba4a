//! Listing.

use futures::{StreamExt as _, stream};

use super::Subject;

/// The number of simultaneous requests when many objects are written.
const AT_ONCE: usize = 16;

/// A listing reflects all writes and deletions that were answered before it began, and has each key
/// once.
pub fn a_listing_sees_every_write(subject: &Subject) {
    subject.run(async {
        let objects = subject.make().await;
        objects.expect_keys::<&str>("", None, &[]).await;
        let tag = objects.create("b", b"0").await;
        objects.expect_keys("", None, &["b"]).await;
        objects.create("a", b"0").await;
        objects.expect_keys("", None, &["a", "b"]).await;
        objects.replace("b", &tag, b"1").await;
        objects.expect_keys("", None, &["a", "b"]).await;
        objects.delete(&["a"]).await;
        objects.expect_keys("", None, &["b"]).await;
    });
}

/// Keys are listed in the order of their bytes, independent of the order of their writes: dashes,
/// dots, slashes, digits, capitals, underscores, small letters. A key comes before longer keys that
/// begin with it.
pub fn a_listing_is_in_the_order_of_bytes(subject: &Subject) {
    let sorted = [
        "-", ".x", "/x", "0", "00", "10", "9", "A", "Z", "_", "a", "a-", "a.", "a0", "aA", "a_",
        "aa",
    ];
    let written = [9, 3, 15, 0, 12, 6, 1, 16, 14, 4, 10, 7, 2, 13, 5, 11, 8];
    subject.run(async {
        let objects = subject.make().await;
        for index in written {
            objects.create(&format!("key{}", sorted[index]), b"").await;
        }
        let mut keys = sorted.map(|key| format!("key{key}"));
        if subject.slashes_first {
            keys.sort_by_key(|key| key.replace('/', "\0"));
        }
        objects.expect_keys("", None, &keys).await;
    });
}

/// A listing has exactly the keys that begin with the prefix, which may end anywhere in a key and
/// may be empty.
pub fn a_listing_has_the_keys_with_the_prefix(subject: &Subject) {
    let keys = ["a/1", "a/12", "a/123/x", "a/2", "ab", "b/1"];
    subject.run(async {
        let objects = subject.make().await;
        for key in keys {
            objects.create(key, b"").await;
        }
        for prefix in ["", "a", "a/", "a/1", "a/12", "a/123/", "b/1", "b/12", "c", "A", "1"] {
            let with = keys.iter().filter(|key| key.starts_with(prefix));
            objects.expect_keys(prefix, None, &with.collect::<Vec<_>>()).await;
        }
    });
}

/// A listing after a key has the keys that follow it, without the key itself. No object needs to
/// have that key.
pub fn a_listing_starts_after_a_key(subject: &Subject) {
    let keys = ["a/1", "a/2", "a/3", "b/1"];
    subject.run(async {
        let objects = subject.make().await;
        for key in keys {
            objects.create(key, b"").await;
        }
        for (prefix, after) in [
            ("", "a/1"),
            ("", "a/2x"),
            ("", "b/1"),
            ("a/", "a/1"),
            ("a/", "a/0"),
            ("a/", "a/3"),
            ("a/", "A"),
            ("a/", "b"),
            ("b", "a/2"),
        ] {
            let behind = keys.iter().filter(|&&key| key.starts_with(prefix) && key > after);
            objects.expect_keys(prefix, Some(after), &behind.collect::<Vec<_>>()).await;
        }
    });
}

/// More than 1,000 keys are listed in pages of at most 1,000, which together have every key once.
/// Each page says if another one follows. One deletion may name all keys.
pub fn many_keys_are_listed_in_pages(subject: &Subject) {
    let keys: Vec<String> = (0..1_001).map(|number| format!("many/{number:04}")).collect();
    subject.run(async {
        let objects = subject.make().await;
        objects.create("last", b"").await;
        objects.create("next", b"").await;
        stream::iter(&keys)
            .map(|key| objects.create(key, b""))
            .buffer_unordered(AT_ONCE)
            .for_each(|_| async {})
            .await;
        objects.expect_keys("many/", None, &keys).await;
        objects.expect_keys("many/0", None, &keys[..1_000]).await;
        objects.expect_keys("many/", Some("many/0000"), &keys[1..]).await;
        objects.delete(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
        objects.expect_keys("", None, &["last", "next"]).await;
    });
}
