//! Advances the state: adds pushed updates to those that are to be applied.

use siren_core::Result;

use super::ObjectStore;
use super::client::Client;
use super::session::View;
use siren_core::objects::Written;

/// The result of [`ObjectStore::sequence`].
pub(super) struct Sequenced {
    /// The state afterwards; `None` if another process changed it at the same time.
    pub(super) view: Option<View>,
    /// `true` if this call changed the state.
    pub(super) changed: bool,
    /// The listed keys.
    pub(super) keys: Vec<String>,
}

impl ObjectStore {
    /// Lists the updates pushed to the open epoch and adds them to those that are to be applied.
    /// `close` makes this selection final.
    pub(super) async fn sequence(
        &self,
        client: &Client,
        view: &View,
        close: bool,
    ) -> Result<Sequenced> {
        let nothing = Sequenced { view: Some(view.clone()), changed: false, keys: Vec::new() };
        let Some(open) = view.state.open.as_ref().filter(|open| !open.closed) else {
            return Ok(nothing);
        };
        let keys = client.list_all(&self.keys.updates_of(open.generation)).await?;
        let pushed = self.pushed_batches(open, &keys);
        let marks = if close { pushed } else { open.ready(&pushed) };
        if marks == open.marks && !close {
            return Ok(Sequenced { keys, ..nothing });
        }
        let mut next = view.state.next();
        if let Some(open) = &mut next.open {
            open.marks = marks;
            open.closed = close;
        }
        let bytes = next.encode()?;
        let view = match client.put_if_unchanged(&self.keys.state(), &view.tag, &bytes).await? {
            Written::Done(tag) => Some(self.remember(View { state: next.into(), tag })),
            Written::Refused => None,
        };
        Ok(Sequenced { changed: view.is_some(), view, keys })
    }
}
