//! The allocations that a preview compares.

use siren_core::platform::Profile;
use siren_core::{Allocation, Error, Result, StepTime};

use super::PreviewInput;
use crate::Config;

/// The largest number of workers in a grid.
const MAX_WORKERS: u32 = 1_000;

/// All pairs of the numbers of workers and the memory sizes, without repetitions.
pub(super) fn allocations(
    config: &Config,
    subject: &PreviewInput,
    profile: &Profile,
    step: &StepTime,
    batches: u64,
) -> Result<Vec<Allocation>> {
    let memory = memory(config, subject, profile, step)?;
    let most = u32::try_from(batches).unwrap_or(u32::MAX);
    let mut workers = match subject.workers.is_empty() {
        true => rising(profile.platform.limits.concurrency.min(most).min(MAX_WORKERS)),
        false => subject.workers.clone(),
    };
    for &workers in &workers {
        let memory_mb = memory.first().copied().unwrap_or_default();
        Allocation::new(workers, memory_mb).check(&profile.platform)?;
    }
    workers.iter_mut().for_each(|workers| *workers = (*workers).min(most));
    workers.sort_unstable();
    workers.dedup();
    let pairs = workers.iter().flat_map(|&workers| {
        memory.iter().map(move |&memory_mb| Allocation::new(workers, memory_mb))
    });
    Ok(pairs.collect())
}

/// 1, 2, 5, 10, 20, 50, … and `most`.
fn rising(most: u32) -> Vec<u32> {
    let decades = (0..).map_while(|decade| 10_u32.checked_pow(decade));
    let steps = decades.flat_map(|ten| [1, 2, 5].map(|step| ten.saturating_mul(step)));
    let mut all: Vec<u32> = steps.take_while(|&step| step < most).collect();
    all.push(most.max(1));
    all
}

fn memory(
    config: &Config,
    subject: &PreviewInput,
    profile: &Profile,
    step: &StepTime,
) -> Result<Vec<u32>> {
    let platform = &profile.platform;
    let limits = &platform.limits;
    // The replica and the sum of gradients. Local steps also need a copy and one batch's gradient.
    let vectors = if config.local_steps > 1 { 4 } else { 2 };
    let extra = config.compression.extra_memory_bytes(subject.parameters);
    let needs = profile.cpu.memory_mb(subject.parameters, vectors, extra);
    let mut sizes = subject.memory_mb.clone();
    if sizes.is_empty() {
        let full = limits.memory_per_vcpu_mb;
        let doubles = (0..31).map(|double| f64::from(limits.memory_min_mb) * 2_f64.powi(double));
        sizes = doubles.take_while(|&size| size < full).map(|size| size as u32).collect();
        sizes.push(full.ceil() as u32);
        if step.parallel_share > 0.0 {
            sizes.extend([2.0, 4.0].map(|vcpus| (vcpus * full) as u32));
        }
        // Rounded up, so that a size for whole vCPUs has all of them.
        sizes.iter_mut().for_each(|size| *size = platform.memory_at_least(*size));
        sizes.retain(|&size| f64::from(size) >= needs);
        if sizes.is_empty() && f64::from(limits.memory_max_mb) >= needs {
            sizes.push(limits.memory_max_mb);
        }
        if sizes.is_empty() {
            return Err(Error::rejected(format!(
                "a worker of {} parameters needs about {needs:.0} MB of memory, of which {} has at most \
                 {} MB: train a smaller model",
                subject.parameters, platform.name, limits.memory_max_mb
            )));
        }
    }
    sizes.sort_unstable();
    sizes.dedup();
    for &size in &sizes {
        platform.check_memory(size)?;
        if f64::from(size) < needs {
            return Err(Error::rejected(format!(
                "{size} MB is too little: a worker of {} parameters needs about {needs:.0} MB; \
                 give it more memory",
                subject.parameters
            )));
        }
    }
    Ok(sizes)
}
