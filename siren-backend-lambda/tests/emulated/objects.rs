//! Objects on two servers.

use siren_backend_lambda::S3Objects;
use siren_core::conformance::{objects, objects_tests};
use siren_core::objects::{Fetched, Objects, Tag, Written};
use siren_core::{ErrorKind, Requests};

use crate::proxy::{Budget, Fault, Proxy};
use crate::servers::{self, MINISTACK, RUNTIME, SEAWEEDFS, Server, on_both};

/// Few writes of many writers: a server that emulates S3 answers some hundred requests a second.
fn contract(server: &'static Server) -> objects::Subject {
    objects::Subject::new(move || server.objects())
        .driven(|future| RUNTIME.block_on(future))
        .writes(3)
}

objects_tests!(the_contract_on_ministack, contract(&MINISTACK));
// SeaweedFS lists the keys in a directory where it lists the directory.
objects_tests!(the_contract_on_seaweedfs, contract(&SEAWEEDFS).slashes_first());

on_both!(
    an_object_that_is_known_is_not_sent_again
    prefixes_are_apart
    traffic_is_counted
    damage_on_the_way_is_noticed
);

#[track_caller]
fn done(written: Written) -> Tag {
    match written {
        Written::Done(tag) => tag,
        Written::Refused => panic!("refused"),
    }
}

#[track_caller]
fn changed(fetched: Fetched) -> (Vec<u8>, Tag) {
    match fetched {
        Fetched::Changed { bytes, tag } => (bytes, tag),
        other => panic!("{other:?}"),
    }
}

async fn an_object_that_is_known_is_not_sent_again(server: &'static Server) {
    let objects = server.objects().await;
    assert_eq!(objects.get("key", None).await.unwrap(), Fetched::Missing);
    let first = done(objects.put_if_absent("key", b"first").await.unwrap());
    let before = objects.traffic();
    assert_eq!(objects.get("key", Some(&first)).await.unwrap(), Fetched::Unchanged);
    assert_eq!((objects.traffic() - before).received, 0);
    let second = done(objects.put_if_unchanged("key", &first, b"second").await.unwrap());
    let found = changed(objects.get("key", Some(&first)).await.unwrap());
    assert_eq!(found, (b"second".to_vec(), second));
}

async fn prefixes_are_apart(server: &'static Server) {
    let name = servers::unique_prefix();
    let all = server.objects().await.below("");
    let (one, longer) = (all.below(&name), all.below(&format!("{name}1")));
    one.put_if_absent("key", b"one").await.unwrap();
    longer.put_if_absent("key", b"longer").await.unwrap();
    assert_eq!(one.list("", None).await.unwrap().keys, ["key"]);
    one.delete(&["key".into()]).await.unwrap();
    assert_eq!(longer.list("", None).await.unwrap().keys, ["key"]);
    let whole = format!("{name}1/key");
    assert_eq!(changed(all.get(&whole, None).await.unwrap()).0, b"longer");
}

async fn traffic_is_counted(server: &'static Server) {
    let objects = server.objects().await;
    let other = objects.clone();
    let body = vec![7; 100_000];
    objects.put_if_absent("key", &body).await.unwrap();
    other.put_if_absent("key", &body).await.unwrap();
    objects.get("key", None).await.unwrap();
    other.get_range("key", 10..20).await.unwrap();
    objects.get("missing", None).await.unwrap();
    let traffic = objects.traffic();
    assert_eq!(traffic, other.traffic());
    assert_eq!(traffic.requests, Requests { writes: 2, reads: 3 });
    assert_eq!((traffic.sent, traffic.received), (200_000, 100_010));
    objects.list("", None).await.unwrap();
    objects.delete(&["key".into()]).await.unwrap();
    let more = objects.traffic() - traffic;
    assert_eq!((more.requests, more.sent), (Requests { writes: 1, reads: 0 }, 0));
    assert!((200..400).contains(&more.received), "{more:?}");
}

async fn damage_on_the_way_is_noticed(server: &'static Server) {
    let direct = server.objects().await;
    let prefix = servers::unique_prefix();
    let direct = direct.below(&prefix);
    let faults =
        vec![Budget::new(Fault::DamagedRequest, 1, 1), Budget::new(Fault::DamagedAnswer, 3, 1)];
    let proxy = Proxy::start(server, faults).await;
    let config = servers::config(&proxy.address()).await;
    let objects = S3Objects::new(&config, &servers::bucket(), &prefix);

    let error = objects.put_if_absent("key", b"what was meant").await.unwrap_err();
    assert_eq!(
        direct.get("key", None).await.unwrap(),
        Fetched::Missing,
        "a damaged object is not stored"
    );
    assert!(error.is_transient(), "{}", error.chain());
    done(objects.put_if_absent("key", b"what was meant").await.unwrap());
    let error = objects.get("key", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost, "{}", error.chain());
    assert_eq!(changed(objects.get("key", None).await.unwrap()).0, b"what was meant");
    assert_eq!((proxy.fired(Fault::DamagedRequest), proxy.fired(Fault::DamagedAnswer)), (1, 1));
    assert_eq!(proxy.count(), 4);
}

/// Only on MiniStack: SeaweedFS creates a missing bucket.
#[test]
fn a_bucket_that_does_not_exist_is_named() {
    RUNTIME.block_on(async {
        let config = servers::config(&MINISTACK.address()).await;
        let objects = S3Objects::new(&config, "siren-no-such-bucket", "runs");
        for tried in [
            objects.get("key", None).await.map(drop),
            objects.put_if_absent("key", b"").await.map(drop),
            objects.list("", None).await.map(drop),
        ] {
            let error = tried.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.chain());
            assert!(error.message().contains("s3://siren-no-such-bucket/runs/"), "{error}");
        }
    });
}

/// No server listens on this port.
#[test]
fn a_server_that_does_not_answer_may_do_so_later() {
    RUNTIME.block_on(async {
        let config = servers::config("http://127.0.0.1:9").await;
        let error = S3Objects::new(&config, "bucket", "").get("key", None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Lost, "{}", error.chain());
    });
}
