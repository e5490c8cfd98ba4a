//! Packed data on S3 is the data in the file.

use std::sync::Arc;

use siren_backend_lambda::S3Objects;
use siren_core::conformance::{data, data_tests};
use siren_core::objects::Objects;
use siren_core::{DataSource, ErrorKind, Requests};
use siren_data::{MemorySource, PackedData, RaggedSource, pack};

use crate::servers::{MINISTACK, RUNTIME, SEAWEEDFS, Server, on_both};

/// Example i is i + 1 bytes of i.
fn stairs() -> RaggedSource {
    RaggedSource::new((0..20_u8).map(|i| vec![i; usize::from(i) + 1])).unwrap()
}

fn even() -> MemorySource {
    MemorySource::new((0..60_u8).collect::<Vec<_>>(), 3).unwrap()
}

/// Packs a source, uploads it, and opens the file and the object.
async fn uploaded(objects: &S3Objects, source: &dyn DataSource) -> (PackedData, PackedData) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed");
    let file = pack(source, &path).await.unwrap();
    let key = objects.upload_data(&path, "test").await.unwrap();
    assert_eq!(key, file.key("test").unwrap());
    let shared: Arc<dyn Objects> = Arc::new(objects.clone());
    (file, PackedData::open_object(shared, &key).await.unwrap())
}

fn subject(server: &'static Server, source: &dyn DataSource) -> data::Subject {
    let source = RUNTIME.block_on(async { uploaded(&server.objects().await, source).await.1 });
    data::Subject::new(source).driven(|future| RUNTIME.block_on(future))
}

data_tests!(even_on_ministack, super::subject(&MINISTACK, &super::even()));
data_tests!(ragged_on_ministack, super::subject(&MINISTACK, &super::stairs()));
data_tests!(even_on_seaweedfs, super::subject(&SEAWEEDFS, &super::even()));
data_tests!(ragged_on_seaweedfs, super::subject(&SEAWEEDFS, &super::stairs()));

on_both!(
    a_file_and_an_object_read_the_same
    a_large_file_goes_in_parts
    a_data_set_is_uploaded_once
);

async fn a_file_and_an_object_read_the_same(server: &'static Server) {
    let objects = server.objects().await;
    for source in [&even() as &dyn DataSource, &stairs()] {
        let (file, object) = uploaded(&objects, source).await;
        assert_eq!((file.len(), file.hash()), (object.len(), object.hash()));
        assert_eq!(object.request_costs(), Requests { reads: 1, writes: 0 });
        for range in [0..20, 4..9, 19..20] {
            let expected = source.fetch(range.clone()).await.unwrap();
            assert_eq!(file.fetch(range.clone()).await.unwrap(), expected);
            let before = objects.traffic();
            assert_eq!(object.fetch(range).await.unwrap(), expected);
            assert_eq!((objects.traffic() - before).requests, object.request_costs());
        }
    }
}

async fn a_large_file_goes_in_parts(server: &'static Server) {
    let objects = server.objects().await;
    let bytes: Vec<u8> = (0..36_000_000_u32).map(|i| (i / 7) as u8).collect();
    let source = MemorySource::new(bytes, 9_000).unwrap();
    let (_, object) = uploaded(&objects, &source).await;
    // Reads: the check for an existing object, and opening. Writes: start and end of the upload,
    // and three parts.
    assert_eq!(objects.traffic().requests, Requests { writes: 5, reads: 2 });
    let ends = [0..3, 1_863..1_866, 3_727..3_729, 3_999..4_000];
    for range in ends {
        let expected = source.fetch(range.clone()).await.unwrap();
        assert!(object.fetch(range.clone()).await.unwrap() == expected, "{range:?}");
    }
}

async fn a_data_set_is_uploaded_once(server: &'static Server) {
    let objects = server.objects().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed");
    pack(&even(), &path).await.unwrap();
    let key = objects.upload_data(&path, "one").await.unwrap();
    let before = objects.traffic();
    assert_eq!(objects.upload_data(&path, "one").await.unwrap(), key);
    assert_eq!((objects.traffic() - before).sent, 0);

    let taken = key.replace("one", "two");
    objects.put_if_absent(&taken, b"something else").await.unwrap();
    let error = objects.upload_data(&path, "two").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains(&taken), "{error}");
    std::fs::write(&path, b"no data").unwrap();
    let error = objects.upload_data(&path, "one").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
