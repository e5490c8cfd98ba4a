//! The log of a training.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use siren_core::{Error, ErrorKind, Result};

use super::evaluation::Evaluation;

/// JSON lines, and TensorBoard event files with feature `tensorboard`.
pub(super) struct Log {
    lines: File,
    path: PathBuf,
    #[cfg(feature = "tensorboard")]
    events: tensorboard_rs::summary_writer::SummaryWriter,
}

impl Log {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("training.jsonl");
        let lines = std::fs::create_dir_all(folder).and_then(|()| File::create(&path));
        let lines = lines.map_err(|error| cannot_write(&path, error))?;
        #[cfg(feature = "tensorboard")]
        let events = tensorboard_rs::summary_writer::SummaryWriter::new(folder);
        Ok(Self {
            lines,
            path,
            #[cfg(feature = "tensorboard")]
            events,
        })
    }

    pub(super) fn write(&mut self, evaluation: &Evaluation) -> Result<()> {
        let mut text = serde_json::to_vec(evaluation).map_err(|error| {
            Error::new(ErrorKind::Other, "cannot encode an evaluation").with_source(error)
        })?;
        text.push(b'\n');
        self.lines.write_all(&text).map_err(|error| cannot_write(&self.path, error))?;
        #[cfg(feature = "tensorboard")]
        self.events(evaluation);
        Ok(())
    }

    #[cfg(feature = "tensorboard")]
    fn events(&mut self, evaluation: &Evaluation) {
        let Evaluation { score, .. } = evaluation;
        let scalars = [
            ("evaluation/success", Some(score.success)),
            ("evaluation/time_s", Some(score.time_s)),
            ("evaluation/cost_usd", Some(score.cost_usd)),
            ("evaluation/relative_time", Some(evaluation.relative_time)),
            ("episode/return", evaluation.episode_return),
            ("episode/success", evaluation.episode_success),
            ("policy/sigma_functions", Some(evaluation.sigma[0])),
            ("policy/sigma_memory", Some(evaluation.sigma[1])),
            ("policy/kl", Some(evaluation.kl)),
            ("policy/clip_fraction", Some(evaluation.clip_fraction)),
            ("critic/explained_variance", Some(evaluation.explained_variance)),
        ];
        for (name, value) in scalars {
            if let Some(value) = value {
                self.events.add_scalar(name, value as f32, evaluation.steps as usize);
            }
        }
        self.events.flush();
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    let message =
        format!("cannot write {}: choose a folder that can be written to", path.display());
    Error::new(ErrorKind::Other, message).with_source(error)
}
