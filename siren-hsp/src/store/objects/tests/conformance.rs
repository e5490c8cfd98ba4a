//! The contract of parameter stores.

use std::sync::Arc;

use siren_core::conformance::{objects, objects_tests, store, store_tests};

use super::super::{CasStore, ObjectStore};
use super::support::{FaultyObjects, InstantClock, inline_store};
use crate::MemoryObjects;
use siren_core::objects::Objects;

fn store(objects: impl Objects + 'static, dim: usize, parts: u32) -> ObjectStore {
    inline_store(Arc::new(objects), dim, parts)
}

store_tests!(
    in_one_part,
    store::Subject::new(|dim| async move { super::store(MemoryObjects::new(), dim, 1) })
);
store_tests!(
    in_three_parts,
    store::Subject::new(|dim| async move { super::store(MemoryObjects::new(), dim, 3) })
);
// Every request can be cancelled, before and after it has its effect.
store_tests!(
    over_slow_objects,
    store::Subject::new(|dim| async move { super::store(FaultyObjects::default(), dim, 3) })
        .dim(20)
        .pushes(100)
);

fn whole(objects: impl Objects + 'static, dim: usize) -> CasStore {
    CasStore::new(Arc::new(objects), Arc::new(InstantClock::default()), "runs/test", dim).unwrap()
}

store_tests!(
    in_one_object,
    store::Subject::new(|dim| async move { super::whole(MemoryObjects::new(), dim) }).pushes(200)
);
store_tests!(
    in_one_slow_object,
    store::Subject::new(|dim| async move { super::whole(FaultyObjects::default(), dim) })
        .dim(20)
        .pushes(50)
);

// Without faults these are correct, slow objects.
objects_tests!(slow_objects, objects::Subject::new(|| async { FaultyObjects::default() }));
