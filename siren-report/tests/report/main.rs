//! Facts about the page, for runs of zero to hundreds of epochs.

mod fixture;

use siren_core::{Better, Evaluation, StopReason};
use siren_hsp::RunRecord;
use siren_report::{figure, render, write};

fn page(record: &RunRecord) -> String {
    render(record).unwrap()
}

/// The texts of the cells of an epoch's row.
fn row(page: &str, epoch: u64) -> Vec<String> {
    let start = page.find(&format!("<th scope=\"row\">{epoch}</th>")).unwrap();
    let row = &page[start..start + page[start..].find("</tr>").unwrap()];
    let text = |cell: &str| cell.rsplit_once('>').unwrap().1.to_owned();
    row.split("</t").filter(|cell| cell.contains('<')).map(text).collect()
}

#[test]
fn every_kind_of_run_has_a_page() {
    for epochs in [0, 1, 2, 3, 40, 61, 300] {
        for (record, all) in [(fixture::lenet(epochs), 8), (fixture::scheduled(epochs), 10)] {
            let page = page(&record);
            assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{epochs}");
            let charts = if epochs == 0 { 0 } else { all };
            assert_eq!(page.matches("<svg").count(), charts, "{epochs}");
            assert!(!page.contains("NaN") && !page.contains("inf<"), "{epochs}");
        }
    }
}

#[test]
fn a_run_without_epochs_says_so() {
    let page = page(&fixture::nothing());
    assert!(page.contains("No epoch was sealed"));
    assert!(page.contains("did not pay for more"));
    assert!(page.contains("does not pay for one worker"));
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_record() {
    let record = fixture::scheduled(40);
    let page = page(&record);
    for epoch in [0, 17, 39] {
        let row = row(&page, epoch);
        let record = &record.epochs[epoch as usize];
        let value =
            |cell: usize| -> f64 { row[cell].replace([',', '$', '%'], "").trim().parse().unwrap() };
        let same = |cell: usize, expected: f64| {
            let error = (value(cell) - expected).abs();
            assert!(error <= expected.abs() * 6e-4, "{cell}: {} for {expected}", row[cell]);
        };
        same(0, epoch as f64);
        same(1, f64::from(record.workers));
        same(2, f64::from(record.workers_asked));
        same(3, f64::from(record.memory_mb));
        same(4, f64::from(record.learning_rate));
        same(5, record.evaluation.loss);
        same(6, record.train_loss);
        same(7, record.evaluation.accuracy().unwrap() * 100.0);
        same(8, record.evaluation.auc().unwrap() * 100.0);
        same(9, record.elapsed_s);
        same(10, record.fetch_s);
        same(11, record.compute_s);
        same(12, record.update_s);
        same(13, record.queue_s);
        same(14, record.round_wait_s);
        same(15, record.wait_s);
        same(16, record.evaluate_s);
        same(17, record.cpu_utilisation * 100.0);
        same(18, record.memory_utilisation * 100.0);
        same(19, record.updates as f64);
        same(20, record.batches as f64);
        same(21, f64::from(record.retries));
        same(22, record.staleness_mean);
        same(23, record.staleness_max as f64);
        same(24, record.step_factor);
        same(25, record.progress);
        assert_eq!(row[26], record.noise_scale.unwrap().to_string());
        same(27, record.cost_usd);
        same(28, record.budget_left_usd.unwrap());
    }
}

#[test]
fn the_headline_tells_the_outcome() {
    let mut record = fixture::lenet(3);
    record.outcome.evaluation = Evaluation::new(0.012_345_6).with("accuracy", 0.987_65);
    record.outcome.elapsed_s = 134.2;
    record.outcome.cost_usd = 0.012_345;
    let local = page(&record);
    for text in ["0.01235", "98.77 %", "2 min 14 s", "$0.01235", "Ran all epochs.", "lenet-mnist"] {
        assert!(local.contains(text), "{text}");
    }
    assert!(local.contains("Cost (estimate)") && local.contains("Nothing was billed"));

    record.info.platform.estimated = false;
    record.outcome.reason = StopReason::Diverged;
    let billed = page(&record);
    assert!(!billed.contains("stimate)") && !billed.contains("Nothing was billed"));
    assert!(billed.contains("training diverged"));
}

#[test]
fn hostile_text_is_escaped() {
    let hostile = "\"><script>alert('x')</script><img src=http://example.org>&amp;";
    let mut record = fixture::lenet(2);
    record.run = hostile.into();
    record.outcome.detail = Some(hostile.into());
    record.info.platform.name = hostile.into();
    for epoch in &mut record.epochs {
        epoch.evaluation.metrics.insert(hostile.into(), 1.0);
    }
    let page = page(&record);
    assert!(!page.contains("<script") && !page.contains("<img"));
    assert_eq!(
        page.matches("&lt;script&gt;").count(),
        5 + 2 + 2 * 5,
        "title, heading, detail, twice the platform; twice the metric's column; both its charts"
    );
}

#[test]
fn the_page_loads_nothing() {
    let page = page(&fixture::scheduled(40));
    for loader in ["src=", "url(", "@import", "<script", "<iframe", "<object", "<img", "<base"] {
        assert!(!page.contains(loader), "{loader}");
    }
    let links: Vec<_> = page.match_indices("href=").map(|(at, _)| &page[at..at + 13]).collect();
    assert_eq!(links, ["href=\"data:,\""], "an empty icon is the only link");
    let names = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(page.matches("://").count(), names, "the only addresses are names of SVG");
}

#[test]
fn a_workload_without_accuracy_has_no_chart_of_it() {
    let mut record = fixture::lenet(5);
    record.initial.metrics.clear();
    record.outcome.evaluation.metrics.clear();
    for epoch in &mut record.epochs {
        epoch.evaluation.metrics.clear();
    }
    let page = page(&record);
    assert!(!page.contains("ccuracy") && !page.contains("AUC"));
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(figure::metrics_by_time(&record).is_empty());
    assert_eq!(figure::progress(&record).unwrap().matches("<svg").count(), 1);
}

#[test]
fn every_metric_has_a_tile_a_column_and_charts_with_its_own_scale() {
    let mut record = fixture::lenet(5);
    record.info.metrics.insert("mean error".into(), Better::Lower);
    record.initial = record.initial.with("mean error", 2_345.6);
    for epoch in &mut record.epochs {
        let error = 1_234.5 - epoch.epoch as f64;
        epoch.evaluation.metrics.insert("mean error".into(), error);
    }
    record.outcome.evaluation = record.epochs[4].evaluation.clone();
    let page = page(&record);
    assert_eq!(page.matches("<svg").count(), 10);
    assert!(page.contains("<dt>Mean error</dt><dd class=\"value\">1230"), "the last value");
    assert!(page.contains("from 2346 before training"));
    assert!(page.contains("title=\"mean error; lower is better\">mean error</th>"));
    for text in ["Mean error over time", "Mean error over cost", "accuracy (higher is better), %"] {
        assert!(page.contains(text), "{text}");
    }
    assert_eq!(page.matches("mean error (lower is better)").count(), 2, "the axes");
    assert!(page.contains("epoch 3, mean error: 1232 after"), "the hover text of a point");
}

#[test]
fn the_value_before_training_never_flattens_the_epochs() {
    let hint = "before training, held out: 2.305 after 0 s";
    assert!(page(&fixture::lenet(3)).contains(hint));
    assert!(!page(&fixture::scheduled(40)).contains(hint));
}

#[test]
fn no_number_is_too_odd_for_a_page() {
    for odd in [0.0, 5e-324, 1e-9, 1e12, 1e300, f64::MAX, -1.0, f64::NAN, f64::INFINITY] {
        let mut record = fixture::lenet(4);
        record.initial.loss = odd;
        record.outcome.evaluation = Evaluation::new(odd).with("accuracy", odd).with("f1", odd);
        record.outcome.cost_usd = odd;
        record.outcome.elapsed_s = odd;
        let last = &mut record.epochs[3];
        last.train_loss = odd;
        last.evaluation = Evaluation::new(odd).with("accuracy", odd).with("f1", odd);
        (last.elapsed_s, last.evaluate_s, last.fetch_s, last.wait_s) = (odd, odd, odd, odd);
        (last.cost_usd, last.budget_left_usd, last.cpu_utilisation) = (odd, Some(odd), odd);
        (last.epoch, last.updates, last.workers, last.memory_mb) =
            (u64::MAX, u64::MAX, u32::MAX, u32::MAX);
        page(&record);

        for epoch in &mut record.epochs {
            (epoch.cost_usd, epoch.elapsed_s, epoch.evaluate_s) = (odd, odd, odd);
        }
        page(&record);
    }
}

#[test]
fn a_page_is_replaced_in_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    std::fs::write(&path, "old").unwrap();
    let record = fixture::lenet(1);
    write(&record, &path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page(&record));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");

    let error = write(&record, folder.path().join("missing/report.html")).unwrap_err();
    assert!(error.to_string().contains("missing/report.html"), "{error}");
}
