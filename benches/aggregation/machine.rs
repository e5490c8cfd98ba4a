//! The limits of the machine.

use std::hint::black_box;
use std::sync::Mutex;

use super::bare;
use super::bench::{LENET, TEN_MILLION, THREADS, numbers, passes};
use super::swarm::on_threads;

/// Prints the machine's own limits: memcpy and the STREAM triad.
pub(crate) fn orientation() {
    println!("machine, GB/s of reads and writes (memcpy counts both):");
    for parameters in [LENET, TEN_MILLION] {
        for threads in [1, THREADS] {
            let sets: Vec<_> = (0..threads)
                .map(|_| {
                    Mutex::new([numbers(parameters), numbers(parameters), numbers(parameters)])
                })
                .collect();
            let passes = passes(parameters, 1);
            let best = |bytes: usize, work: &(dyn Fn(&mut [Vec<f32>; 3]) + Sync)| {
                let run = || {
                    on_threads(threads, |thread| {
                        let set = &mut *sets[thread].lock().unwrap();
                        (0..passes).for_each(|_| work(black_box(set)));
                    })
                };
                let times = (0..10).map(|_| run().as_secs_f64());
                let moved = (bytes * parameters * passes * threads) as f64;
                moved / times.fold(f64::INFINITY, f64::min) / 1e9
            };
            let memcpy = best(8, &|[a, b, _]| a.copy_from_slice(b));
            let triad = best(12, &|[a, b, c]| bare::triad(a, b, c));
            println!(
                "  {parameters:>10} entries, {threads} threads: memcpy {memcpy:.1}, STREAM triad {triad:.1}"
            );
        }
    }
}
