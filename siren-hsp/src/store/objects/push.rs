//! Pushes, which write one object for each update.

use std::sync::atomic::Ordering;

use siren_core::{Error, ErrorKind, PushOutcome, Result, Update};

use super::session::Session;
use super::state::{floor, not_open};
use super::{ObjectStore, payload};
use crate::store::update;
use siren_core::objects::Written;

impl ObjectStore {
    pub(super) async fn push_update(&self, update: &Update<'_>) -> Result<PushOutcome> {
        let id = update.id;
        let session = self.session(id.epoch).await?;
        let plan = &session.plan;
        update::check(plan, self.dim, update)?;
        let counted = &mut *session.shards[id.shard as usize].lock().await;
        let round = plan.updates(id.position);
        let bulk = plan.sync_mode.merges_rounds();
        if id.position > *counted || (bulk && id.position == *counted && round > session.floor()) {
            let pushed = self.count_pushed(&session).await?;
            session.note_pushed(&pushed);
            *counted = (*counted).max(pushed[id.shard as usize]);
            let floor = floor(plan, pushed.iter().copied());
            if bulk && id.position == *counted && round > floor {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!(
                        "shard {} pushes in round {round} while round {floor} is open: pull before \
                         each push",
                        id.shard
                    ),
                ));
            }
        }
        if id.position < *counted {
            return Ok(PushOutcome::Duplicate);
        }
        if id.position > *counted {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "an update of shard {} at batch {}, but only {counted} batches are counted",
                    id.shard, id.position
                ),
            ));
        }
        let bytes = payload::encode(update, session.cuts)?;
        let key = self.keys.update(session.generation, id.shard, id.position);
        let written = self.client.put_if_absent(&key, &bytes).await?;
        *counted = id.position + update.batches;
        session.pushed_here[id.shard as usize].fetch_max(*counted, Ordering::Relaxed);
        Ok(match written {
            Written::Done(_) => PushOutcome::Accepted,
            // Written by another attempt, or by an earlier request whose answer was lost.
            Written::Refused => PushOutcome::Duplicate,
        })
    }

    /// The pushed batches of each shard.
    async fn count_pushed(&self, session: &Session) -> Result<Vec<u64>> {
        let epoch = session.plan.epoch;
        // In this order: an update deleted after the listing is in the state already.
        let keys = self.client.list_all(&self.keys.updates_of(session.generation)).await?;
        let view = self.read(&self.client).await?.ok_or_else(|| not_open(epoch))?;
        let open = view.state.current(epoch)?;
        if open.generation != session.generation {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("epoch {epoch} was opened again after a restore"),
            ));
        }
        Ok(self.pushed_batches(open, &keys))
    }
}
