//! Messages that are too large for a payload: they go through the bucket.

use siren_core::objects::{Fetched, Objects, Written};
use siren_core::{Error, ErrorKind, Result};

/// The key of a stored request or answer; `name` tells it from all others of the store.
pub(crate) fn key(store_prefix: &str, name: &str) -> String {
    format!("{store_prefix}/message/{name}")
}

/// Stores a message. One that is there already is the same: nobody else has its key.
pub(crate) async fn put(objects: &dyn Objects, key: &str, bytes: &[u8]) -> Result<()> {
    match objects.put_if_absent(key, bytes).await? {
        Written::Done(_) | Written::Refused => Ok(()),
    }
}

/// Reads a message, and leaves it where it is: whoever reads it may have to do so again.
pub(crate) async fn get(objects: &dyn Objects, key: &str) -> Result<Vec<u8>> {
    match objects.get(key, None).await? {
        Fetched::Changed { bytes, .. } => Ok(bytes),
        Fetched::Missing | Fetched::Unchanged => {
            Err(Error::new(ErrorKind::Lost, format!("the message under {key} is gone")))
        }
    }
}
