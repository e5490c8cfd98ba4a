//! draft
use siren_backend_sim::Simulation;
use siren_core::{Machine, StepTime};
use siren_examples::lab::Job;
use siren_examples::tables::{self, Clicks};
use siren_hsp::{Config, Fixed, Stop};
use siren_linear::SparseLogisticRegression;
use std::sync::Arc;

fn main() {
    let (train, test) =
        tables::load_clicks(&tables::bundled_clicks(), Clicks::CensusKdd, None).unwrap();
    let workload = Arc::new(SparseLogisticRegression::new(train.features).unwrap());
    let job = Job {
        name: "logistic regression".into(),
        workload,
        train: Arc::new(train.source),
        test: Arc::new(test.source),
        config: Config::default(),
        step: StepTime::per_example(3.8e-3),
    };
    for target in [0.128] {
        for n in [10, 20, 50, 150_u32] {
            for (batch, k) in [(8, 1), (32, 1), (128, 1), (8, 4)] {
                for rate in [0.5, 0.25, 0.12, 0.06, 0.03] {
                    let mut job = job.clone();
                    job.config = Config {
                        batch_size: batch,
                        local_steps: k,
                        rate: rate.into(),
                        stop: Stop { epochs: 12, target_loss: Some(target), ..Stop::default() },
                        ..Config::default()
                    };
                    match job.on_lambda(Fixed::new(n, 256), &Simulation::default()) {
                        Ok(run) => {
                            if run.is_done() {
                                println!(
                                    "{target} n {n} batch {batch} k {k} rate {rate}: {} epochs {:.4} {:.2} s ${:.6} ${:.6}",
                                    run.record.epochs.len(),
                                    run.record.outcome.loss,
                                    run.time_s,
                                    run.cost.dollars(),
                                    run.cost_without_requests.dollars()
                                )
                            }
                        }
                        Err(e) => println!("n {n} {rate} {}", e.chain()),
                    }
                }
            }
        }
    }
    let mut job = job.clone();
    job.config = Config {
        batch_size: 64,
        rate: 0.3.into(),
        stop: Stop { epochs: 30, target_loss: Some(0.128), ..Stop::default() },
        ..Config::default()
    };
    let run = job.on_machine(&Machine::c5_2xlarge()).unwrap();
    println!("machine {} epochs {:.3} s {}", run.record.epochs.len(), run.time_s, run.cost);
}
