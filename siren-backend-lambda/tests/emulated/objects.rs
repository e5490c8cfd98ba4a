//! Objects on two servers.

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use siren_backend_lambda::S3Objects;
use siren_core::{ErrorKind, Requests};
use siren_hsp::objects::{Fetched, Objects, Tag, Written};

use crate::proxy::{Budget, Fault, Proxy};
use crate::servers::{self, MINISTACK, RUNTIME, Server, on_both};

on_both!(
    increments_by_compare_and_swap_are_never_lost
    an_object_is_created_once
    a_listing_goes_on_after_a_thousand_keys
    a_range_ends_where_the_object_does
    an_object_that_is_known_is_not_sent_again
    what_is_replaced_must_be_as_known
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

async fn increments_by_compare_and_swap_are_never_lost(server: &'static Server) {
    let objects = server.objects().await;
    objects.put_if_absent("count", b"0").await.unwrap();
    let writers = (0..8).map(|_| {
        let objects = objects.clone();
        tokio::spawn(async move {
            let mut refused = 0;
            for _ in 0..25 {
                loop {
                    let (bytes, tag) = changed(objects.get("count", None).await.unwrap());
                    let count: u32 = String::from_utf8(bytes).unwrap().parse().unwrap();
                    let next = (count + 1).to_string();
                    match objects.put_if_unchanged("count", &tag, next.as_bytes()).await.unwrap() {
                        Written::Done(_) => break,
                        Written::Refused => refused += 1,
                    }
                }
            }
            refused
        })
    });
    let refused: u32 = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    let (bytes, _) = changed(objects.get("count", None).await.unwrap());
    assert_eq!(String::from_utf8(bytes).unwrap(), "200");
    assert!(refused > 0, "nobody met anybody: this shows nothing");
}

async fn an_object_is_created_once(server: &'static Server) {
    let objects = server.objects().await;
    let writers = (0..8_u8).map(|writer| {
        let objects = objects.clone();
        tokio::spawn(async move {
            loop {
                match objects.put_if_absent("one", &[writer]).await {
                    Ok(written) => return (writer, matches!(written, Written::Done(_))),
                    Err(error) => assert!(error.is_transient(), "{}", error.chain()),
                }
            }
        })
    });
    let written: Vec<(u8, bool)> =
        join_all(writers).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<u8> = written.iter().filter(|(_, done)| *done).map(|(by, _)| *by).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(changed(objects.get("one", None).await.unwrap()).0, winners);
}

async fn a_listing_goes_on_after_a_thousand_keys(server: &'static Server) {
    let objects = server.objects().await;
    let keys: Vec<String> = (0..1_005).map(|i| format!("many/{i:05}")).collect();
    objects.put_if_absent("many", b"").await.unwrap();
    objects.put_if_absent("other/00001", b"").await.unwrap();
    stream::iter(&keys)
        .map(|key| async { done(objects.put_if_absent(key, b"").await.unwrap()) })
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let first = objects.list("many/", None).await.unwrap();
    assert_eq!((first.keys.as_slice(), first.more), (&keys[..1_000], true));
    let rest = objects.list("many/", Some(&keys[999])).await.unwrap();
    assert_eq!((rest.keys.as_slice(), rest.more), (&keys[1_000..], false));
    assert_eq!(objects.list("many/", Some("many/01003")).await.unwrap().keys, keys[1_004..]);
    assert_eq!(objects.list("many/01", None).await.unwrap().keys, keys[1_000..]);

    objects.delete(&keys).await.unwrap();
    // Once more: those that do not exist are skipped.
    objects.delete(&keys[..3]).await.unwrap();
    assert_eq!(objects.list("many/", None).await.unwrap().keys, [""; 0]);
    assert_eq!(objects.list("other/", None).await.unwrap().keys, ["other/00001"]);
}

async fn a_range_ends_where_the_object_does(server: &'static Server) {
    let objects = server.objects().await;
    objects.put_if_absent("ten", b"0123456789").await.unwrap();
    objects.put_if_absent("none", b"").await.unwrap();
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..6, "345"),
        (8..99, "89"),
        (10..12, ""),
        (70..99, ""),
        (4..4, ""),
    ] {
        let bytes = objects.get_range("ten", range.clone()).await.unwrap().unwrap();
        assert_eq!(bytes, expected.as_bytes(), "{range:?}");
    }
    assert_eq!(objects.get_range("none", 0..5).await.unwrap().unwrap(), b"");
    assert_eq!(objects.get_range("missing", 0..5).await.unwrap(), None);
    let tag = changed(objects.get("ten", None).await.unwrap()).1;
    for (length, expected) in [(0, ""), (4, "0123"), (10, "0123456789"), (99, "0123456789")] {
        let start = changed(objects.get_start("ten", None, length).await.unwrap());
        assert_eq!(start, (expected.as_bytes().to_vec(), tag.clone()), "{length}");
    }
    assert_eq!(objects.get_start("ten", Some(&tag), 4).await.unwrap(), Fetched::Unchanged);
    assert_eq!(changed(objects.get_start("none", None, 4).await.unwrap()).0, b"");
    assert_eq!(objects.get_start("missing", None, 4).await.unwrap(), Fetched::Missing);
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

async fn what_is_replaced_must_be_as_known(server: &'static Server) {
    let objects = server.objects().await;
    let first = done(objects.put_if_absent("key", b"first").await.unwrap());
    assert_eq!(objects.put_if_absent("key", b"again").await.unwrap(), Written::Refused);
    let second = done(objects.put_if_unchanged("key", &first, b"second").await.unwrap());
    assert_eq!(objects.put_if_unchanged("key", &first, b"late").await.unwrap(), Written::Refused);
    assert_eq!(
        changed(objects.get("key", None).await.unwrap()),
        (b"second".to_vec(), second.clone())
    );
    objects.delete(&["key".into()]).await.unwrap();
    assert_eq!(objects.put_if_unchanged("key", &second, b"late").await.unwrap(), Written::Refused);
    assert_eq!(objects.get("key", None).await.unwrap(), Fetched::Missing);
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
