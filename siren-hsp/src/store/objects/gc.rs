//! Deletes objects that will not be read again. Objects that remain because a process was stopped
//! do no harm: their keys contain old numbers.

use futures::{StreamExt, TryStreamExt, stream};
use siren_core::Result;

use super::ObjectStore;
use super::client::Client;
use super::keys::Keys;
use super::part_object::{Meta, meta_len};
use super::session::View;

/// The number of updates that accumulate before a check for deletable ones pays off.
const MIN_GARBAGE: usize = 256;

impl ObjectStore {
    /// Deletes those of the open epoch's updates that every part contains.
    pub(super) async fn delete_applied(
        &self,
        client: &Client,
        view: &View,
        keys: &[String],
    ) -> Result<()> {
        let Some(open) = &view.state.open else { return Ok(()) };
        let below = |key: &str, marks: &[u64]| {
            let update = self.keys.parse(open.generation, key);
            update.is_some_and(|(shard, position)| {
                marks.get(shard as usize).is_some_and(|&mark| position < mark)
            })
        };
        if keys.iter().filter(|key| below(key, &open.marks)).count() < MIN_GARBAGE {
            return Ok(());
        }
        let lineage = view.state.lineage()?;
        let length = meta_len(open.plan.shards as usize);
        let metas: Vec<Option<Vec<u8>>> =
            stream::iter(0..view.state.cuts().parts)
                .map(|part| async move {
                    client.get_range(&self.keys.part(lineage, part), 0, length).await
                })
                .buffered(32)
                .try_collect()
                .await?;
        let mut marks = open.marks.clone();
        for bytes in metas {
            match Meta::decode(&bytes.unwrap_or_default())? {
                Some((meta, _)) if meta.generation == open.generation => {
                    for (mark, held) in marks.iter_mut().zip(&meta.marks) {
                        *mark = held.batches.min(*mark);
                    }
                }
                // The part has not begun this epoch.
                _ => return Ok(()),
            }
        }
        let past: Vec<String> = keys.iter().filter(|key| below(key, &marks)).cloned().collect();
        client.delete(&past).await
    }

    /// Deletes the updates of a sealed epoch and of earlier ones.
    pub(super) async fn delete_updates_through(&self, generation: u64) {
        self.delete_below(&self.keys.updates(), generation + 1).await;
    }

    /// Deletes the objects that a restore has replaced.
    pub(super) async fn delete_before(&self, lineage: u64) {
        self.delete_below(&self.keys.parts(), lineage).await;
        self.delete_below(&self.keys.updates(), lineage).await;
    }

    /// Deletes keys with this prefix and a number below `end`. Errors are ignored.
    async fn delete_below(&self, prefix: &str, end: u64) {
        let Ok(keys) = self.retrying_client.list_all(prefix).await else { return };
        let is_past =
            |key: &String| Keys::leading_number(prefix, key).is_some_and(|number| number < end);
        let past: Vec<String> = keys.into_iter().filter(is_past).collect();
        let _ = self.retrying_client.delete(&past).await;
    }
}
