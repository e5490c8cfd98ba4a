use siren_core::conformance::{data, data_tests};
use siren_core::objects::Objects as _;
use siren_core::{ErrorKind, Seed};
use siren_hsp::MemoryObjects;
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::{MemorySource, RaggedSource};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Example i is three bytes, of i.
fn even() -> MemorySource {
    MemorySource::new((0..60_u8).collect::<Vec<_>>(), 3).unwrap()
}

/// Example i is i + 1 bytes of i.
fn stairs() -> RaggedSource {
    RaggedSource::new((0..20_u8).map(|i| vec![i; usize::from(i) + 1])).unwrap()
}

fn packed(source: &dyn DataSource) -> (TempDir, PackedData) {
    let folder = tempfile::tempdir().unwrap();
    let packed = RUNTIME.block_on(pack(source, folder.path().join("data"))).unwrap();
    (folder, packed)
}

/// The same bytes as an object.
fn stored(bytes: &[u8]) -> Result<PackedData> {
    RUNTIME.block_on(async {
        let objects = MemoryObjects::new();
        objects.put_if_absent("data", bytes).await.unwrap();
        PackedData::open_object(Arc::new(objects), "data").await
    })
}

fn bytes_of(data: &PackedData) -> Vec<u8> {
    match &data.place {
        Place::File { path, .. } => std::fs::read(path).unwrap(),
        Place::Object { .. } => unreachable!(),
    }
}

fn in_a_file(source: &dyn DataSource) -> data::Subject {
    let (folder, data) = packed(source);
    // The file stays open, even on systems that then forbid removing it.
    drop(folder);
    data::Subject::new(data).driven(|future| RUNTIME.block_on(future))
}

fn in_an_object(source: &dyn DataSource) -> data::Subject {
    let (_folder, data) = packed(source);
    data::Subject::new(stored(&bytes_of(&data)).unwrap())
}

data_tests!(even_in_a_file, super::in_a_file(&super::even()));
data_tests!(ragged_in_a_file, super::in_a_file(&super::stairs()));
data_tests!(even_in_an_object, super::in_an_object(&super::even()));
data_tests!(ragged_in_an_object, super::in_an_object(&super::stairs()));

#[test]
fn what_is_packed_is_what_was_given() {
    for source in [&even() as &dyn DataSource, &stairs()] {
        let (_folder, data) = packed(source);
        let object = stored(&bytes_of(&data)).unwrap();
        assert_eq!((data.request_costs().reads, object.request_costs().reads), (0, 1));
        for range in [0..20, 3..7, 19..20, 5..5] {
            let expected = RUNTIME.block_on(source.fetch(range.clone())).unwrap();
            assert_eq!(RUNTIME.block_on(data.fetch(range.clone())).unwrap(), expected, "{range:?}");
            assert_eq!(RUNTIME.block_on(object.fetch(range)).unwrap(), expected);
        }
    }
}

#[test]
fn another_content_has_another_key() {
    let keys = [
        packed(&even()).1.key("a").unwrap(),
        packed(&even()).1.key("a").unwrap(),
        packed(&even().shuffled(Seed::new(1))).1.key("a").unwrap(),
        packed(&stairs()).1.key("a").unwrap(),
        // The same bytes, divided differently.
        packed(&MemorySource::new((0..60_u8).collect::<Vec<_>>(), 2).unwrap()).1.key("a").unwrap(),
    ];
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0].starts_with("data/a-"), "{}", keys[0]);
    let mut different = keys[1..].to_vec();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 4);
    let error = packed(&even()).1.key("a/b").unwrap_err();
    assert!(error.message().contains("'a/b'"), "{error}");
}

#[test]
fn only_the_same_data_counts_as_stored() {
    let (_folder, data) = packed(&even());
    let (_other_folder, other) = packed(&stairs());
    RUNTIME.block_on(async {
        let objects = MemoryObjects::new();
        assert!(!data.is_stored(&objects, "data").await.unwrap());
        objects.put_if_absent("data", &bytes_of(&data)).await.unwrap();
        assert!(data.is_stored(&objects, "data").await.unwrap());
        let error = other.is_stored(&objects, "data").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.message().contains("something else at data"), "{error}");
    });
    assert_eq!(data.packed_len(), bytes_of(&data).len() as u64);
}

/// If packed data is cut anywhere, or any byte changes, the data or its damaged part is refused.
#[test]
fn damaged_data_is_never_read() {
    for source in [&even() as &dyn DataSource, &stairs()] {
        let (_folder, data) = packed(source);
        let whole = bytes_of(&data);
        let read = |bytes: &[u8]| stored(bytes).and_then(|d| RUNTIME.block_on(d.fetch(0..d.len())));
        assert!(read(&whole).is_ok());
        for at in 0..whole.len() {
            let error = read(&whole[..at]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {at}: {}", error.chain());
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            let error = read(&damaged).unwrap_err();
            let kind = if (8..12).contains(&at) { ErrorKind::Rejected } else { ErrorKind::Corrupt };
            assert_eq!(error.kind(), kind, "byte {at}: {}", error.chain());
        }
    }
}

#[test]
fn files_that_are_cut_foreign_or_newer_say_so() {
    let (folder, data) = packed(&stairs());
    let whole = bytes_of(&data);
    let mut newer = whole.clone();
    newer[8] = 2;
    let longer = [&whole[..], b"x"].concat();
    for (bytes, kind, says) in [
        (&whole[..whole.len() - 1], ErrorKind::Corrupt, "bytes, not"),
        (&longer, ErrorKind::Corrupt, "bytes, not"),
        (&whole[..20], ErrorKind::Corrupt, "ends early"),
        (b"", ErrorKind::Corrupt, "not packed data"),
        (b"label,text\n1,good\n", ErrorKind::Corrupt, "not packed data"),
        (&newer, ErrorKind::Rejected, "format 2, and this version of Siren reads format 1"),
    ] {
        let path = folder.path().join("other");
        std::fs::write(&path, bytes).unwrap();
        let error = RUNTIME.block_on(PackedData::open(&path)).unwrap_err();
        assert_eq!(error.kind(), kind, "{}", error.chain());
        assert!(error.chain().contains(says), "{}", error.chain());
        assert!(error.message().contains("other"), "{error}");
    }
    let error = RUNTIME.block_on(PackedData::open(folder.path().join("none"))).unwrap_err();
    assert!(error.message().contains("none"), "{error}");
    let error = RUNTIME.block_on(PackedData::open_object(Arc::new(MemoryObjects::new()), "none"));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Rejected);
}

/// A file is replaced as a whole, and no other file is left beside it.
#[test]
fn a_file_that_cannot_be_packed_leaves_the_old_one() {
    struct Broken;
    #[async_trait]
    impl DataSource for Broken {
        fn len(&self) -> u64 {
            5
        }

        async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
            match range.start {
                4 => Err(Error::new(ErrorKind::Other, "broken")),
                _ => Ok(vec![1]),
            }
        }
    }
    let (folder, data) = packed(&even());
    let before = bytes_of(&data);
    let path = folder.path().join("data");
    RUNTIME.block_on(pack(&Broken, &path)).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    RUNTIME.block_on(pack(&stairs(), &path)).unwrap();
    assert_ne!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = RUNTIME.block_on(pack(&even(), "no/such/folder/data")).unwrap_err();
    assert!(error.message().contains("no/such/folder/data"), "{error}");
}
