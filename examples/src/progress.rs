//! Live progress: a bar for each epoch on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use siren_core::Evaluation;
use siren_hsp::{EpochRecord, Event, Observer};
use siren_report::metric::{label, text};

/// The metrics of an evaluation on one line, each after two spaces.
pub fn metrics(evaluation: &Evaluation) -> String {
    let metrics = evaluation.metrics.iter();
    metrics.map(|(name, &value)| format!("  {} {}", label(name), text(name, value))).collect()
}

use crate::print_note;

/// Shows the progress of a run.
pub struct Progress {
    quiet: bool,
    epochs: u64,
    batches: u64,
    examples: u64,
    estimated: bool,
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Progress {
    /// Progress of a run over `examples` examples an epoch; a quiet one shows nothing.
    pub fn new(quiet: bool, examples: u64) -> Self {
        Self {
            quiet,
            epochs: 0,
            batches: 1,
            examples,
            estimated: false,
            bar: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => print_note!("{text}"),
        }
    }

    fn sealed(&self, record: &EpochRecord) -> String {
        format!(
            "epoch {}/{}: {:.1} s  {:.0} examples/s  loss {:.4} (training {:.4}){}  {}{}{}",
            record.epoch + 1,
            self.epochs,
            record.elapsed_s,
            // In proportion, if the epoch was cut short.
            self.examples as f64 * record.batches as f64 / self.batches as f64 / record.elapsed_s,
            record.evaluation.loss,
            record.train_loss,
            metrics(&record.evaluation),
            siren_core::Usd::new(record.cost_usd),
            if record.complete { "" } else { "  (cut short)" },
            noise(record),
        )
    }
}

/// The noise scale, and the mean factor of the steps if the noise rule shortened some.
fn noise(record: &EpochRecord) -> String {
    let scale = record.noise_scale.map(|scale| format!("  noise scale {scale}"));
    let factor = (record.step_factor < 1.0).then(|| format!("  steps x{:.2}", record.step_factor));
    scale.into_iter().chain(factor).collect()
}

impl Observer for Progress {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { job, initial, epoch } => {
                self.epochs = job.epochs;
                self.batches = job.batches;
                self.estimated = job.platform.estimated;
                if !self.quiet {
                    let from =
                        if *epoch > 0 { format!(" from epoch {}", epoch + 1) } else { "".into() };
                    print_note!(
                        "{} parameters, {} batches an epoch{from}; loss {:.4} before",
                        job.parameters,
                        job.batches,
                        initial.loss
                    );
                }
            }
            Event::Launched { epoch, allocation, batches, learning_rate } if !self.quiet => {
                let head = format!(
                    "epoch {}/{}: {} workers of {} MB, learning rate {learning_rate:.4}",
                    epoch + 1,
                    self.epochs,
                    allocation.workers,
                    allocation.memory_mb
                );
                if self.terminal {
                    let bar = ProgressBar::new(*batches);
                    let style = "{prefix} [{bar:30}] {pos}/{len} batches  {msg}";
                    if let Ok(style) = ProgressStyle::with_template(style) {
                        bar.set_style(style.progress_chars("=> "));
                    }
                    bar.set_prefix(head);
                    self.bar = Some(bar);
                } else {
                    print_note!("{head}");
                }
            }
            Event::Progress { batches, examples, train_loss, elapsed, cost, .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*batches);
                    let rate = *examples as f64 / elapsed.as_secs_f64();
                    let about = if self.estimated { "~" } else { "" };
                    bar.set_message(format!(
                        "{rate:.0} examples/s  loss {train_loss:.4}  {about}{cost}"
                    ));
                }
            }
            Event::Retried { shard, error, .. } if !self.quiet => {
                self.line(&format!("retrying shard {shard}: {}", error.chain()));
            }
            Event::AggregatorRetried { aggregator, error, .. } if !self.quiet => {
                self.line(&format!("retrying aggregator {aggregator}: {}", error.chain()));
            }
            Event::Evaluating { .. } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(bar.length().unwrap_or(0));
                    bar.set_message("evaluating");
                }
            }
            Event::EpochFinished(record) if !self.quiet => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                print_note!("{}", self.sealed(record));
            }
            Event::Finished(_) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }

    fn interval(&self) -> Option<Duration> {
        (self.terminal && !self.quiet).then_some(Duration::from_millis(200))
    }
}
