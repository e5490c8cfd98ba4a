//! A store in memory that behaves as if it were in shared storage.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Clock, ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts, Requests, Result,
    StoreDecorator, Update, wire,
};

use crate::link::{Link, Request};

/// A store behind a function's connection, with one GET of the changed blocks for each pull, and
/// one PUT for each push, which is applied at the time of its answer. Without a connection it is
/// the driver's view, whose calls take no time and which has the same request costs.
pub(crate) struct LinkedStore {
    pub(crate) inner: Arc<dyn ParameterStore>,
    pub(crate) link: Option<Arc<Link>>,
}

#[async_trait]
impl StoreDecorator for LinkedStore {
    fn inner(&self) -> &dyn ParameterStore {
        &*self.inner
    }

    fn request_costs(&self) -> RequestCosts {
        RequestCosts {
            push: Requests { writes: 1, reads: 0 },
            pull: Requests { writes: 0, reads: 1 },
            ..RequestCosts::NONE
        }
    }

    /// The connection counts the requests.
    fn requests(&self) -> Option<Requests> {
        None
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let Some(link) = &self.link else {
            return self.inner.pull(epoch, replica, progress).await;
        };
        let asked = link.clock().now();
        let (mut early, mut waited) = (0, Duration::ZERO);
        if progress > 0 {
            // A pull that waits for others makes its request when they are done.
            early = self.inner.pull(epoch, replica, progress).await?.copied;
            waited = link.clock().now() - asked;
        }
        link.request(Request::Get, 0).await?;
        let pulled = self.inner.pull(epoch, replica, progress).await?;
        let copied = (early + pulled.copied).min(self.inner.dim());
        link.receive(copied as u64 * 4).await;
        link.receive_answer().await?;
        Ok(PullOutcome { copied, waited, ..pulled })
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        let Some(link) = &self.link else {
            return self.inner.push(update).await;
        };
        link.request(Request::Put, wire::encoded_len(&update.gradient) as u64).await?;
        let push_outcome = self.inner.push(update).await?;
        link.receive_answer().await?;
        Ok(push_outcome)
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::store::Subject;
    use siren_core::conformance::store_decorator::{self, Terms};
    use siren_core::platform::Profile;
    use siren_core::{Seed, store_decorator_tests, store_tests};
    use siren_hsp::MemoryStore;

    use super::*;
    use crate::clock::VirtualClock;
    use crate::link::RateLimiter;

    /// A store behind a connection that takes no time.
    fn instant(inner: Arc<dyn ParameterStore>) -> LinkedStore {
        let profile = Arc::new(Profile::instant());
        let (rng, fault_rng) = (Box::new(Seed::new(1).rng()), Box::new(Seed::new(2).rng()));
        let link = Link::new(
            VirtualClock::new(),
            profile,
            Arc::default(),
            Arc::<RateLimiter>::default(),
            rng,
            fault_rng,
        );
        LinkedStore { inner, link: Some(Arc::new(link)) }
    }

    store_tests!(
        behind_a_connection,
        Subject::new(
            |dim| async move { instant(Arc::new(MemoryStore::new(vec![0.0; dim]).unwrap())) }
        )
    );

    /// The connection makes the requests, and those of the wrapped store do not count.
    fn of_the_connection(terms: Terms) -> Terms {
        let request_costs = RequestCosts {
            push: Requests { writes: 1, reads: 0 },
            pull: Requests { writes: 0, reads: 1 },
            wait: Requests::NONE,
            wait_own: Requests::NONE,
            start: Requests::NONE,
        };
        Terms { request_costs, requests: None, ..terms }
    }

    store_decorator_tests!(
        terms,
        store_decorator::Subject::new(instant).changing(of_the_connection)
    );

    store_decorator_tests!(
        terms_as_the_driver_sees_them,
        store_decorator::Subject::new(|inner| LinkedStore { inner, link: None })
            .changing(of_the_connection)
    );
}
