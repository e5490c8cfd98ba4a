//! The contract of a store, held by the store in memory.

use siren_core::conformance::{store, store_tests};

use super::MemoryStore;

store_tests!(
    in_small_blocks,
    store::Subject::new(|dim| async move { MemoryStore::in_blocks(vec![0.0; dim], 7).unwrap() })
);
store_tests!(
    in_memory,
    store::Subject::new(|dim| async move { MemoryStore::new(vec![0.0; dim]).unwrap() })
);
