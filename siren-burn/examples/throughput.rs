//! temporary
#![allow(missing_docs, clippy::disallowed_methods, unreachable_pub)]
#[path = "../../examples/src/lenet.rs"]
mod lenet;
use burn::module::*;
use burn::prelude::*;
use burn::tensor::Gradients;
use lenet::*;
use siren_burn::{BurnWorkload, Learner, burn};
use siren_core::{Batch, Seed, Workload};
use std::time::Instant;

#[cfg(feature = "mi")]
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Sgd(Gradients, f32);
impl ModuleMapper for Sgd {
    fn map_float<const D: usize>(&mut self, p: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, t, m) = p.consume();
        let g = t.grad_remove(&mut self.0);
        let t = t.inner();
        let t = match g { Some(g) => t - g * self.1, None => t };
        Param::from_mapped_value(id, Tensor::from_inner(t).require_grad(), m)
    }
}

fn data(n: usize) -> Vec<u8> {
    (0..n * RECORD).map(|i| if i % RECORD == 0 { (i / RECORD % 10) as u8 } else { (i.wrapping_mul(2654435761) >> 13) as u8 }).collect()
}

fn plain(bytes: &[u8], n: usize, steps: usize, sgd: bool) -> f64 {
    let device = Device::flex().autodiff();
    device.seed(1);
    let l = DigitLearner;
    let mut m = l.init(&device);
    Module::num_params(&m);
    let t = cpu();
    for _ in 0..steps {
        let loss = l.loss(&m, l.batch(&Batch::new(n, bytes), &device).unwrap());
        let g = loss.backward();
        if sgd { m = m.map(&mut Sgd(g, 0.01)); } else { std::hint::black_box(g); }
        std::hint::black_box(loss.into_data());
    }
    (steps * n) as f64 / (cpu() - t)
}

fn ours(w: &BurnWorkload<DigitLearner>, bytes: &[u8], n: usize, steps: usize, sgd: bool) -> f64 {
    let mut p = w.init(Seed::new(1)).unwrap();
    let mut g = vec![0.0; w.dim()];
    let t = cpu();
    for s in 0..steps {
        std::hint::black_box(w.gradient(&p, &Batch::new(n, bytes), Seed::new(s as u64), &mut g).unwrap());
        if sgd { for (p, g) in p.iter_mut().zip(&g) { *p -= 0.01 * g; } }
    }
    (steps * n) as f64 / (cpu() - t)
}

fn cpu() -> f64 { std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-9 }
fn median(v: &mut [f64]) -> f64 { v.sort_by(f64::total_cmp); v[v.len() / 2] }

fn main() {
    let n: usize = std::env::args().nth(2).map_or(64, |a| a.parse().unwrap());
    let steps: usize = std::env::args().nth(3).map_or(20, |a| a.parse().unwrap());
    let bytes = data(n);
    let w = BurnWorkload::new(DigitLearner).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("overhead") => {
            let (mut a, mut b, mut r) = (vec![], vec![], vec![]);
            for _ in 0..15 {
                let x = plain(&bytes, n, steps, true);
                let y = ours(&w, &bytes, n, steps, true);
                a.push(x); b.push(y); r.push(y / x);
            }
            println!("plain {:.0} ours {:.0} ratio {:.3}", median(&mut a), median(&mut b), median(&mut r));
        }
        Some("two") => {
            let t = Instant::now();
            std::thread::scope(|s| for _ in 0..2 { s.spawn(|| ours(&w, &bytes, n, steps, true)); });
            println!("{:.0}", (2 * steps * n) as f64 / t.elapsed().as_secs_f64());
        }
        _ => println!("{:.0}", ours(&w, &bytes, n, steps, true)),
    }
}
