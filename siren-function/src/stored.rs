//! Messages that are too large for a payload: they go through the bucket.

use siren_core::objects::{Fetched, Objects, Written};
use siren_core::{Error, ErrorKind, Result};

/// The key of a stored request or answer. `name` must be unique among the store's messages.
pub fn key(store_prefix: &str, name: &str) -> String {
    format!("{store_prefix}/message/{name}")
}

/// Stores a message. An object that exists already has the same bytes, because keys are unique.
///
/// # Errors
///
/// As [`Objects::put_if_absent`].
pub async fn put(objects: &dyn Objects, key: &str, bytes: &[u8]) -> Result<()> {
    match objects.put_if_absent(key, bytes).await? {
        Written::Done(_) | Written::Refused => Ok(()),
    }
}

/// Reads a message. The object stays, because a retry may read it again.
///
/// # Errors
///
/// Returns [`ErrorKind::Lost`] when the object is gone; otherwise as [`Objects::get`].
pub async fn get(objects: &dyn Objects, key: &str) -> Result<Vec<u8>> {
    match objects.get(key, None).await? {
        Fetched::Changed { bytes, .. } => Ok(bytes),
        Fetched::Missing | Fetched::Unchanged => {
            Err(Error::new(ErrorKind::Lost, format!("the message under {key} is gone")))
        }
    }
}
