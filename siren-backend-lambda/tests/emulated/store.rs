//! The parameter store over S3 keeps its contract, and makes no more requests than it declares.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use siren_backend_lambda::S3Objects;
use siren_backend_local::WallClock;
use siren_core::conformance::store;
use siren_core::{ParameterStore as _, PushOutcome, Replica, Requests, Snapshot};
use siren_hsp::{ObjectOptions, ObjectStore};

use crate::proxy::Proxy;
use crate::servers::{self, MINISTACK, RUNTIME, SEAWEEDFS, Server, on_both};
use crate::swarm::{plan, update};

fn contract(server: &'static Server, parts: u32) -> store::Subject {
    store::Subject::new(move |dim| async move {
        handle(server.objects().await, dim).with_options(ObjectOptions {
            parts,
            inline: true,
            wait_delay: Duration::from_millis(5),
            ..ObjectOptions::default()
        })
    })
    .driven(|future| RUNTIME.block_on(future))
    .dim(20)
    .pushes(5)
}

#[test]
fn the_contract_holds_in_one_part_on_ministack() {
    every_fact_holds(&MINISTACK, 1);
}

#[test]
fn the_contract_holds_in_parts_on_ministack() {
    every_fact_holds(&MINISTACK, 3);
}

#[test]
fn the_contract_holds_in_parts_on_seaweedfs() {
    every_fact_holds(&SEAWEEDFS, 3);
}

/// Some facts take thousands of requests per part, longer than the default timeout of a fact.
fn every_fact_holds(server: &'static Server, parts: u32) {
    const FACT_TIMEOUT: Duration = Duration::from_secs(600);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(fact) = store::FACTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let check = || fact.check(contract(server, parts), FACT_TIMEOUT);
                    if catch_unwind(AssertUnwindSafe(check)).is_err() {
                        failed.lock().unwrap().push(fact.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:?} of {} facts do not hold", store::FACTS.len());
}

fn handle(objects: S3Objects, dim: usize) -> ObjectStore {
    ObjectStore::new(Arc::new(objects), Arc::new(WallClock::new()), "run", dim).unwrap()
}

on_both!(
    an_update_takes_little_more_than_its_numbers
    requests_are_counted_as_the_server_sees_them
    jobs_share_a_bucket
);

/// The sizes of the objects below a key, in bytes.
async fn bytes_below(server: &Server, objects: &S3Objects, key: &str) -> Vec<i64> {
    let client = servers::client(&servers::config(&server.address()).await);
    let answer = client.list_objects_v2().bucket(objects.bucket()).prefix(key).send().await;
    answer.unwrap().contents().iter().filter_map(|object| object.size()).collect()
}

async fn an_update_takes_little_more_than_its_numbers(server: &'static Server) {
    const DIM: usize = 5_000;
    for parts in [1, 3] {
        let prefix = servers::unique_prefix();
        let objects = server.objects().await.below(&prefix);
        let options = ObjectOptions { parts, ..ObjectOptions::default() };
        let store = handle(objects.clone(), DIM).with_options(options);
        store.restore(&Snapshot::initial(vec![0.0; DIM])).await.unwrap();
        let plan = plan(1, 3);
        store.open(&plan).await.unwrap();
        let gradient = vec![0.5; DIM];
        let before = objects.traffic();
        for position in 0..3 {
            let pushed = store.push(&update(&plan, 0, position, &gradient)).await.unwrap();
            assert_eq!(pushed, PushOutcome::Accepted);
        }
        let sizes = bytes_below(server, &objects, &format!("{prefix}/run/update/")).await;
        assert_eq!(sizes.len(), 3);
        let most = 4 * DIM as i64 + 512;
        assert!(sizes.iter().all(|&size| size <= most), "{sizes:?}, at most {most}");
        let sent = (objects.traffic() - before).sent;
        assert_eq!(sent, sizes.iter().sum::<i64>() as u64);
    }
}

/// A push makes one PUT. A pull makes one GET of the state and one of each part.
async fn requests_are_counted_as_the_server_sees_them(server: &'static Server) {
    const DIM: usize = 600;
    const PARTS: u64 = 3;
    let prefix = servers::unique_prefix();
    let direct = server.objects().await.below(&prefix);
    // No aggregator runs.
    let options =
        ObjectOptions { parts: PARTS as u32, max_ahead: u64::MAX, ..ObjectOptions::default() };
    let driver = handle(direct, DIM).with_options(options.clone());
    driver.restore(&Snapshot::initial(vec![0.0; DIM])).await.unwrap();
    let plan = plan(1, 10);
    driver.open(&plan).await.unwrap();

    let proxy = Proxy::start(server, Vec::new()).await;
    let config = servers::config(&proxy.address()).await;
    let objects = S3Objects::new(&config, &servers::bucket(), &prefix);
    let worker = handle(objects.clone(), DIM).with_options(options).exclusive();
    let costs = worker.request_costs();
    let so_far = || {
        let seen = proxy.requests();
        assert_eq!(worker.requests(), Some(seen), "the store's count");
        assert_eq!(objects.traffic().requests, seen, "the count of the objects");
        seen
    };
    let mut replica = Replica::new();
    worker.pull(0, &mut replica, 0).await.unwrap();
    let start = so_far();
    assert!(start.within(costs.start + costs.pull), "{start:?}");

    let gradient = vec![0.5; DIM];
    let mut seen = start;
    for position in 0..5 {
        worker.push(&update(&plan, 0, position, &gradient)).await.unwrap();
        let now = so_far();
        assert_eq!(now - seen, Requests { writes: 1, reads: 0 }, "a push");
        let received = objects.traffic().received;
        let pulled = worker.pull(0, &mut replica, 0).await.unwrap();
        seen = so_far();
        assert_eq!(seen - now, Requests { writes: 0, reads: 1 + PARTS }, "a pull");
        assert_eq!(pulled.copied, 0);
        assert_eq!(objects.traffic().received, received, "unchanged parts are not sent");
    }
    // Workers and the driver make no deletes here.
    let sealed = driver.seal(0).await.unwrap();
    assert_eq!(sealed.version, 5);
    assert!(proxy.log().iter().all(|(method, _)| method != "DELETE" && method != "POST"));
}

async fn jobs_share_a_bucket(server: &'static Server) {
    let objects = server.objects().await;
    let job = |run: &str| {
        let clock = Arc::new(WallClock::new());
        ObjectStore::new(Arc::new(objects.clone()), clock, run, 4).unwrap()
    };
    let (one, other) = (job("lenet"), job("lenet-2"));
    let plan = plan(1, 4);
    for (store, value) in [(&one, 1.0), (&other, 2.0)] {
        store.restore(&Snapshot::initial(vec![value; 4])).await.unwrap();
        store.open(&plan).await.unwrap();
    }
    one.push(&update(&plan, 0, 0, &[1.0; 4])).await.unwrap();
    one.seal(0).await.unwrap();
    // Sealing or restoring one run does not delete the updates of the other.
    other.push(&update(&plan, 0, 0, &[2.0; 4])).await.unwrap();
    one.restore(&Snapshot::initial(vec![5.0; 4])).await.unwrap();
    assert_eq!(other.seal(0).await.unwrap().version, 1);
    assert_eq!(other.snapshot().await.unwrap().values, [1.0; 4]);
    assert_eq!(one.snapshot().await.unwrap().values, [5.0; 4]);
}
