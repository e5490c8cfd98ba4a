//! Functions, each of which has its own machine while it runs.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use siren_core::platform::{Cpu, Profile};
use siren_core::{
    Clock, Completion, DataSource, Error, ErrorKind, Invocation, ParameterStore, Requests, Result,
    Role, Seed, Stream, Time,
};

use super::{Shared, SimStore};
use crate::Simulation;
use crate::clock::VirtualClock;
use crate::context::{SimContext, Speed};
use crate::data::SimData;
use crate::environments::Environments;
use crate::fault::{Faults, seconds};
use crate::link::{Link, RateLimiter};
use crate::objects::{Commits, SimObjects};
use crate::store::LinkedStore;

/// A simulated platform of functions, and its storage.
pub(super) struct Functions {
    profile: Arc<Profile>,
    faults: Arc<Faults>,
    seed: Seed,
    sim_store: SimStore,
    data: Arc<dyn DataSource>,
    rate_limiter: Arc<RateLimiter>,
    commits: Arc<Commits>,
    environments: Mutex<Environments>,
    running: Arc<Mutex<u32>>,
    clock: VirtualClock,
    /// The driver's connection, if it has one.
    driver: Mutex<Option<Arc<Link>>>,
}

impl Functions {
    pub(super) fn new(
        sim_store: SimStore,
        data: Arc<dyn DataSource>,
        simulation: Simulation,
        seed: Seed,
        clock: &VirtualClock,
    ) -> Self {
        Self {
            profile: Arc::new(simulation.profile),
            faults: Arc::new(simulation.faults),
            seed,
            sim_store,
            data,
            rate_limiter: Arc::default(),
            commits: Arc::default(),
            environments: Mutex::default(),
            running: Arc::default(),
            clock: clock.clone(),
            driver: Mutex::default(),
        }
    }

    pub(super) fn cpu(&self) -> Cpu {
        self.profile.cpu
    }

    /// The mean time of a function's GET of its data, GET of the parameters and PUT of an update.
    pub(super) fn exchange(&self, parameters: u64) -> Duration {
        self.profile.expected_exchange_time(parameters)
    }

    /// The requests of the driver itself.
    pub(super) fn driver_requests(&self) -> Requests {
        self.driver.lock().as_ref().map_or(Requests::NONE, |link| link.requests())
    }

    /// The store and the data for the driver.
    pub(super) fn driver(&self) -> (Arc<dyn ParameterStore>, Arc<dyn DataSource>) {
        let data = Arc::new(SimData { inner: Arc::clone(&self.data), link: None });
        let store: Arc<dyn ParameterStore> = match &self.sim_store {
            SimStore::Ideal(store) => {
                Arc::new(LinkedStore { inner: Arc::clone(store), link: None })
            }
            SimStore::Objects { .. } => {
                let rng = |of| self.seed.split(Stream::Platform, &[u64::MAX, of]).rng();
                let (rng, fault_rng) = (Box::new(rng(0)), Box::new(rng(1)));
                let link = Arc::new(self.link(self.clock.clone(), rng, fault_rng));
                *self.driver.lock() = Some(Arc::clone(&link));
                self.store(&link)
            }
        };
        (store, data)
    }

    fn link(
        &self,
        clock: VirtualClock,
        rng: Box<dyn Rng + Send + Sync>,
        fault_rng: Box<dyn Rng + Send + Sync>,
    ) -> Link {
        let (profile, faults) = (Arc::clone(&self.profile), Arc::clone(&self.faults));
        Link::new(clock, profile, faults, Arc::clone(&self.rate_limiter), rng, fault_rng)
    }

    /// The store behind a connection.
    fn store(&self, link: &Arc<Link>) -> Arc<dyn ParameterStore> {
        match &self.sim_store {
            SimStore::Ideal(store) => {
                Arc::new(LinkedStore { inner: Arc::clone(store), link: Some(Arc::clone(link)) })
            }
            SimStore::Objects { objects, open } => {
                let objects = SimObjects {
                    inner: Arc::clone(objects),
                    link: Arc::clone(link),
                    commits: Arc::clone(&self.commits),
                    commit_ms: self.profile.storage.commit_ms,
                };
                open(Arc::new(objects), Arc::new(link.clock().clone()))
            }
        }
    }

    pub(super) async fn run(
        &self,
        shared: &Shared,
        clock: VirtualClock,
        invocation: &Invocation,
    ) -> Completion {
        let memory_mb = invocation.memory_mb;
        let refused = |error| Completion { billed: Some(Duration::ZERO), result: Err(error) };
        let memory = match self.memory(shared, invocation) {
            Ok(memory) => memory,
            Err(error) => return refused(error),
        };
        // Faults have a separate random stream, so that they do not change the other draws.
        let (mut rng, mut fault_rng) = (self.rng(invocation, 0), self.rng(invocation, 1));
        let most = self.profile.platform.limits.concurrency;
        let Some(_running) = Running::one_more(&self.running, most) else {
            let why = format!("{most} functions run already");
            return refused(Error::new(ErrorKind::Throttled, why));
        };
        let now = clock.now();
        if self.faults.throttles(now, &mut fault_rng) {
            let why = "the platform asks for fewer invocations";
            return refused(Error::new(ErrorKind::Throttled, why));
        }
        let starts = &self.profile.starts;
        let version = (invocation.role, memory_mb);
        let start = self.environments.lock().take(starts, version, now);
        let latency = if start.cold { starts.cold_ms } else { starts.warm_ms }.draw(&mut rng);
        let init = match start.cold {
            // The platform stops a longer INIT.
            true => {
                let most = self.profile.platform.limits.init;
                seconds(starts.init_ms.draw(&mut rng) / 1e3).min(most)
            }
            false => Duration::ZERO,
        };
        let lost = |what| {
            let error = Error::new(ErrorKind::Lost, what);
            Completion { billed: None, result: Err(error) }
        };
        let loses_answer = self.faults.loses_answer(invocation, &mut fault_rng);
        if self.faults.loses(invocation, &mut fault_rng) {
            clock.until(start.at + seconds(latency / 1e3)).await;
            return lost("the invocation is lost");
        }
        clock.until(start.at + seconds(latency / 1e3)).await;

        let started = clock.now();
        let crash = self.faults.crash(invocation, started, &mut fault_rng);
        let timeout = invocation.timeout.min(self.profile.platform.limits.timeout);
        let link = Arc::new(self.link(clock.clone(), rng, fault_rng));
        let slowdown = self.profile.cpu.slowdown(link.normal());
        let context = SimContext {
            store: self.store(&link),
            data: Arc::new(SimData {
                inner: Arc::clone(&self.data),
                link: Some(Arc::clone(&link)),
            }),
            task_pool: Arc::clone(&shared.task_pool),
            started,
            deadline: started + timeout,
            speed: self.speed(shared, memory_mb, slowdown),
            memory,
            cpu: Mutex::default(),
            clock: clock.clone(),
        };
        let booking = Booking { shared, link: &link, memory_mb, started, init, cold: start.cold };
        let result = shared.work(invocation, &context, crash).await;
        let billed = booking.billed();
        drop(booking);
        let crashed = crash.is_some_and(|moment| clock.now() >= moment);
        if !crashed && !is_timeout(&result) {
            self.environments.lock().give(version, clock.now());
        }
        if loses_answer {
            return lost("the invocation's answer is lost");
        }
        Completion { billed: Some(billed), result }
    }

    /// The random stream of one attempt.
    fn rng(&self, invocation: &Invocation, of: u64) -> Box<dyn Rng + Send + Sync> {
        let Invocation { plan, role, shard, attempt, .. } = invocation;
        let role = match role {
            Role::Shard => 0,
            Role::Aggregator => 1,
        };
        let path = [plan.epoch, role, u64::from(*shard), u64::from(*attempt), of];
        Box::new(self.seed.split(Stream::Platform, &path).rng())
    }

    fn speed(&self, shared: &Shared, memory_mb: u32, slowdown: f64) -> Speed {
        let (step, cpu) = (shared.step, self.profile.cpu);
        let vcpus = self.profile.platform.vcpus(memory_mb);
        Speed {
            seconds: Box::new(move |work| step.seconds(work, vcpus, &cpu) * slowdown),
            permits: None,
            handover: Duration::ZERO,
        }
    }

    /// The memory that the worker needs, in bytes.
    fn memory(&self, shared: &Shared, invocation: &Invocation) -> Result<u64> {
        let plan = &invocation.plan;
        // The replica and the sum of gradients; with local steps also a copy and the gradient of
        // one batch.
        let vectors = if plan.local_steps > 1 { 4 } else { 2 };
        let extra = plan.compression.extra_memory_bytes(shared.parameters);
        let needs = self.profile.cpu.memory_mb(shared.parameters, vectors, extra);
        if invocation.role == Role::Shard && needs > f64::from(invocation.memory_mb) {
            return Err(Error::rejected(format!(
                "a function of {} MB, while its worker needs about {needs:.0} MB: give it more memory",
                invocation.memory_mb
            )));
        }
        Ok((needs * 1024.0 * 1024.0) as u64)
    }
}

fn is_timeout<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::DeadlineExceeded)
}

/// One of the running functions.
struct Running(Arc<Mutex<u32>>);

impl Running {
    fn one_more(running: &Arc<Mutex<u32>>, most: u32) -> Option<Self> {
        let mut count = running.lock();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self(Arc::clone(running)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
    }
}

/// Adds an invocation to the bill when it ends or is dropped.
struct Booking<'a> {
    shared: &'a Shared,
    link: &'a Link,
    memory_mb: u32,
    started: Time,
    init: Duration,
    cold: bool,
}

impl Booking<'_> {
    fn billed(&self) -> Duration {
        let ran = self.link.clock().now() - self.started;
        self.shared.platform.billed(ran.saturating_add(self.init))
    }
}

impl Drop for Booking<'_> {
    fn drop(&mut self) {
        let requests = self.link.requests();
        self.shared.book(self.memory_mb, self.billed(), requests, self.cold);
    }
}
