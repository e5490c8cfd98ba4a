//! The profile `seed` and the simulation table of the SIREN talk.

use siren_core::Allocation;
use siren_drl::JobModel;
use siren_drl::model::{At, Chance, Dynamics};

/// The expected seconds and dollars of the whole job with one allocation.
fn expected(model: &JobModel, allocation: Allocation) -> (f64, f64) {
    let needed = model.progress_at(model.target_loss);
    let (mut at, mut time, mut cost) = (At::default(), 0.0, 0.0);
    while at.progress < needed - 1e-9 {
        let epoch = model.epoch(at, allocation, &Chance::EXPECTED);
        time += epoch.elapsed_s;
        cost += epoch.cost_usd;
        let progress = at.progress + epoch.progress;
        at = At { epoch: at.epoch + 1, progress, memory_mb: Some(allocation.memory_mb) };
    }
    (time, cost)
}

/// Functions, dollars and seconds of the talk's grid search. The talk does not give its constant
/// memory size; 1,536 MB fits.
#[test]
fn the_rows_of_the_grid_search_come_out_within_1_2_per_cent() {
    let model = JobModel::named("seed").unwrap();
    for (workers, dollars, seconds) in
        [(828, 299.89, 2452.3), (482, 199.67, 2816.9), (138, 99.99, 4979.7)]
    {
        let (time, cost) = expected(&model, Allocation::new(workers, 1_536));
        println!("{workers}: {time} s, ${cost}");
        assert!((time / seconds - 1.0).abs() < 0.012, "{workers} functions: {time} s");
        assert!((cost / dollars - 1.0).abs() < 0.012, "{workers} functions: ${cost}");
    }
}
