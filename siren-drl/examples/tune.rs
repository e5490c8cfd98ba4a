#![allow(clippy::disallowed_methods, missing_docs, unused_crate_dependencies)]
use std::sync::Arc;
use siren_core::Seed;
use siren_drl::agent::{Settings, Training};
use siren_drl::{JobModel, Score, Task};
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |k: &str, d: f64| args.iter().find_map(|a| a.strip_prefix(&format!("{k}=")).map(|v| v.parse::<f64>().unwrap())).unwrap_or(d);
    let budget = get("budget", 200.0);
    let opt = get("opt", if budget == 200.0 { 1823.0 } else if budget == 300.0 { 1552.0 } else { 3931.0 });
    let mut s = if get("reinforce", 0.0) > 0.5 { Settings::reinforce() } else { Settings::ppo() };
    s.steps = get("steps", 500_000.0) as u64;
    s.rate = get("rate", s.rate as f64) as f32;
    s.critic_rate = get("crate", s.critic_rate as f64) as f32;
    s.last_rate = get("last", s.last_rate as f64) as f32;
    s.gamma = get("gamma", s.gamma);
    s.lambda = get("lambda", s.lambda);
    s.hidden = get("hidden", s.hidden as f64) as usize;
    s.environments = get("envs", s.environments as f64) as usize;
    s.horizon = get("horizon", s.horizon as f64) as usize;
    s.minibatch = get("mb", s.minibatch as f64) as usize;
    s.passes = get("passes", s.passes as f64) as usize;
    s.log_sigma = get("sigma", s.log_sigma as f64) as f32;
    s.clip = get("clip", s.clip as f64) as f32;
    s.average = get("avg", s.average as f64) as f32;
    s.environments = get("envs", s.environments as f64) as usize;
    s.shaped = get("shaped", 1.0) > 0.5;
    let mut model = JobModel::named("seed").unwrap();
    model.compute.parallel_share = get("p", 0.3);
    let task = Task::new(model, budget).unwrap();
    let task = Arc::new(task);
    s.margin = get("margin", 1.0);
    s.warm_start = get("warm", 0.0) as usize;
    s.evaluate_every = get("every", 32.0) as u64;
    let from = get("seed", 0.0) as u64;
    let verbose = get("v", 0.0) > 0.5;
    for seed in from..from + get("seeds", 1.0) as u64 {
        let begin = cpu_time::ProcessTime::now();
        let mut l = Training::new(&[Arc::clone(&task)], s, Seed::new(seed)).unwrap();
        if verbose { println!("begun after {:.3} s", begin.elapsed().as_secs_f64()); }
        while !l.is_done() {
            if let Some(e) = l.iterate().unwrap() { if verbose {
                let score = e.score;
                println!("seed {seed} {:7} steps {:.1} s: gap {:6.2} % success {:.2} cost {:.1} n {:.0}-{:.0} m {:.0}-{:.0} sigma {:?} kl {:.4} cf {:.2} ev {:.2} {}", e.steps, begin.elapsed().as_secs_f64(), (score.time_s / opt - 1.0) * 100.0, score.success, score.cost_usd, score.functions_min, score.functions_max, score.memory_min_mb, score.memory_max_mb, e.sigma, e.kl, e.clip_fraction, e.explained_variance, e.best);
            }}
        }
        let t = begin.elapsed().as_secs_f64();
        for (what, score) in [("last", Score::of(&l.play(&task, 200, Seed::new(7)).unwrap())), ("FINAL", Score::of(&l.agent().unwrap().play(&task, 200, Seed::new(7)).unwrap()))] {
        println!("{what} seed {seed} {:7} steps {:.1} s ({:.0}/s): gap {:6.2} % success {:.3} cost {:.1} n {:.0}-{:.0} m {:.0}-{:.0}", l.steps(), t, l.steps() as f64 / t, (score.time_s / opt - 1.0) * 100.0, score.success, score.cost_usd, score.functions_min, score.functions_max, score.memory_min_mb, score.memory_max_mb);
        }
    }
}
