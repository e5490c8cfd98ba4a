//! A handle's knowledge of the state and of the open epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siren_core::{EpochPlan, Result};

use super::ObjectStore;
use super::client::Client;
use super::keys::Cuts;
use super::part_object::Meta;
use super::state::{Open, State, floor, not_open};
use siren_core::objects::{Fetched, Tag, Written};

/// A state with its tag.
#[derive(Clone)]
pub(super) struct View {
    pub(super) state: Arc<State>,
    pub(super) tag: Tag,
}

/// A handle's knowledge of an epoch while it is open.
pub(super) struct Session {
    pub(super) generation: u64,
    pub(super) lineage: u64,
    pub(super) cuts: Cuts,
    pub(super) plan: EpochPlan,
    /// The known pushed batches of each shard. Pushes of one shard take turns.
    pub(super) shards: Vec<tokio::sync::Mutex<u64>>,
    /// The batches of each shard up to the last update that was pushed through this handle.
    pub(super) pushed_here: Vec<AtomicU64>,
    /// The number of updates that every unfinished shard is known to have pushed.
    floor: AtomicU64,
    /// The parts as last read.
    pub(super) seen: Mutex<Vec<Option<Seen>>>,
}

/// A part as last read.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) tag: Tag,
    pub(super) meta: Arc<Meta>,
}

impl Session {
    fn new(state: &State, open: &Open, pushed: &[u64]) -> Result<Self> {
        let cuts = state.cuts();
        let session = Self {
            generation: open.generation,
            lineage: state.lineage()?,
            cuts,
            plan: open.plan.clone(),
            shards: pushed.iter().map(|&batches| tokio::sync::Mutex::new(batches)).collect(),
            pushed_here: pushed.iter().map(|_| AtomicU64::new(0)).collect(),
            floor: AtomicU64::new(0),
            seen: Mutex::new(vec![None; cuts.parts]),
        };
        session.note_pushed(pushed);
        Ok(session)
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Records the pushed batches of each shard.
    pub(super) fn note_pushed(&self, pushed: &[u64]) {
        self.floor.fetch_max(floor(&self.plan, pushed.iter().copied()), Ordering::AcqRel);
    }
}

impl ObjectStore {
    /// Reads the current state; `None` before the first restore.
    pub(super) async fn read(&self, client: &Client) -> Result<Option<View>> {
        let known = self.view.lock().clone();
        let tag = known.as_ref().map(|view| &view.tag);
        match client.get(&self.keys.state(), tag).await? {
            Fetched::Unchanged => Ok(known),
            Fetched::Missing => {
                *self.view.lock() = None;
                *self.session.lock() = None;
                Ok(None)
            }
            Fetched::Changed { bytes, tag } => {
                let state = Arc::new(State::decode(&bytes, self.dim, &self.keys.state())?);
                Ok(Some(self.remember(View { state, tag })))
            }
        }
    }

    /// Replaces the state. Returns `None` if the state is no longer `view`.
    pub(super) async fn write(&self, view: Option<&View>, next: State) -> Result<Option<View>> {
        let bytes = next.encode()?;
        let written = match view {
            Some(view) => {
                self.retrying_client.put_if_unchanged(&self.keys.state(), &view.tag, &bytes).await?
            }
            None => self.retrying_client.put_if_absent(&self.keys.state(), &bytes).await?,
        };
        Ok(match written {
            Written::Done(tag) => Some(self.remember(View { state: Arc::new(next), tag })),
            Written::Refused => None,
        })
    }

    /// Records a state, unless a later one is known.
    pub(super) fn remember(&self, view: View) -> View {
        let known = &mut *self.view.lock();
        if known.as_ref().is_some_and(|known| known.state.serial > view.state.serial) {
            return view;
        }
        let session = &mut *self.session.lock();
        match (&view.state.open, &*session) {
            (Some(open), Some(known_session))
                if open.generation == known_session.generation && !open.closed =>
            {
                known_session.note_pushed(&open.marks);
            }
            _ => *session = None,
        }
        *known = Some(view.clone());
        view
    }

    /// The session of an epoch believed to be open; read from the objects if there is none.
    pub(super) async fn session(&self, epoch: u64) -> Result<Arc<Session>> {
        loop {
            if let Some(session) = &*self.session.lock()
                && session.plan.epoch == epoch
            {
                return Ok(Arc::clone(session));
            }
            let view = self.read(&self.client).await?.ok_or_else(|| not_open(epoch))?;
            let open = view.state.current(epoch)?;
            let keys = self.client.list_all(&self.keys.updates_of(open.generation)).await?;
            let pushed = self.pushed_batches(open, &keys);
            self.begin_session(&view, open, &pushed)?;
        }
    }

    /// Starts a session, unless the state has changed meanwhile.
    pub(super) fn begin_session(&self, view: &View, open: &Open, pushed: &[u64]) -> Result<()> {
        let known = &*self.view.lock();
        let is_open = |known: &View| {
            known
                .state
                .open
                .as_ref()
                .is_some_and(|now| now.generation == open.generation && !now.closed)
        };
        let session = &mut *self.session.lock();
        if session.is_none() && known.as_ref().is_some_and(is_open) {
            *session = Some(Arc::new(Session::new(&view.state, open, pushed)?));
        }
        Ok(())
    }

    /// The pushed batches of each shard: those in `open.marks`, and the updates that follow them
    /// without a gap. `keys` must have been listed before `open` was read.
    pub(super) fn pushed_batches(&self, open: &Open, keys: &[String]) -> Vec<u64> {
        let mut pushed = open.marks.clone();
        for key in keys {
            let Some((shard, position)) = self.keys.parse(open.generation, key) else { continue };
            if let Some(batches) = pushed.get_mut(shard as usize)
                && *batches == position
            {
                *batches += open.plan.update_len(shard, position);
            }
        }
        pushed
    }
}
