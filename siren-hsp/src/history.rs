//! The files of a run: `history.jsonl`, written during the run, and `run.json`, written at its end.

#[cfg(test)]
mod documented;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use record::check_schema;
pub use record::{EpochRecord, HistoryEvent, OutcomeRecord, RunInfo, RunRecord, SCHEMA};
use siren_core::{Error, ErrorKind, Result, Usd};

/// Reads the lines of a `history.jsonl`. A last line that a crash cut off is left out.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] when the file cannot be read, [`ErrorKind::Rejected`] when a part
/// of it has another schema than [`SCHEMA`], and [`ErrorKind::Corrupt`] when a line in the middle
/// is not a known event.
pub fn read_history(path: impl AsRef<Path>) -> Result<Vec<HistoryEvent>> {
    let path = path.as_ref();
    let text = std::fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Other, format!("cannot read the history {}", path.display()))
            .with_source(error)
    })?;
    let whole = text.rsplitn(2, |&byte| byte == b'\n').nth(1).unwrap_or(&[]);
    whole
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .zip(1..)
        .map(|(line, number)| {
            // Events of another schema may be unknown here, so the schema is checked first.
            if let Ok(Start { event, schema }) = serde_json::from_slice(line)
                && event == "started"
            {
                check_schema(&path.display().to_string(), schema)?;
            }
            serde_json::from_slice(line).map_err(|error| {
                Error::new(
                    ErrorKind::Corrupt,
                    format!("line {number} of {} is not a known event", path.display()),
                )
                .with_source(error)
            })
        })
        .collect()
}

/// The fields of an event that tell a start and its schema.
#[derive(serde::Deserialize)]
struct Start<'a> {
    event: &'a str,
    /// Missing in schema 1.
    #[serde(default = "first_schema")]
    schema: u32,
}

fn first_schema() -> u32 {
    1
}

/// The money that a history accounts for: settled money, and reserved money that was never settled
/// because the driver died.
pub(crate) fn spent(lines: &[HistoryEvent]) -> Usd {
    let (mut settled, mut open) = (0.0, 0.0);
    for line in lines {
        match line {
            // An earlier driver will not settle its open reservations any more.
            HistoryEvent::Started { .. } => {
                settled += open;
                open = 0.0;
            }
            HistoryEvent::Reserved { usd, .. } => open += usd,
            HistoryEvent::Settled { usd, .. } => {
                settled += usd;
                open = 0.0;
            }
            _ => {}
        }
    }
    Usd::new(settled + open)
}

/// Writes events as they happen. Without a folder it writes nothing.
pub(crate) struct History {
    file: Option<(File, PathBuf)>,
    resume: bool,
    begun: bool,
}

impl History {
    /// Opens the history in `folder`, without changing it: a new one, or one to continue.
    pub(crate) fn open(folder: Option<&Path>, resume: bool) -> Result<Self> {
        let open = |folder: &Path| {
            let path = folder.join("history.jsonl");
            let mut options = OpenOptions::new();
            let file = options.create(true).read(true).append(true).open(&path);
            file.map_err(|error| cannot_write(&path, error)).map(|file| (file, path))
        };
        Ok(Self { file: folder.map(open).transpose()?, resume, begun: false })
    }

    /// Writes the first line: after the complete lines of the history to continue, or else
    /// replacing the content of the file.
    pub(crate) fn begin(&mut self, line: &HistoryEvent) -> Result<()> {
        self.begun = true;
        if let Some((file, path)) = &mut self.file {
            let mut keep = 0;
            if self.resume {
                // A line that a crash cut off would merge with the next one.
                let mut bytes = Vec::new();
                file.rewind()
                    .and_then(|()| file.read_to_end(&mut bytes))
                    .map_err(|error| cannot_write(path, error))?;
                keep = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
            }
            file.set_len(keep as u64).map_err(|error| cannot_write(path, error))?;
        }
        self.write(line)
    }

    /// `true` if the run is resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.resume
    }

    /// `true` if the first line is written.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Appends a line; it is in the file when this returns. Does nothing before the first line.
    pub(crate) fn write(&mut self, line: &HistoryEvent) -> Result<()> {
        let (Some((file, path)), true) = (&mut self.file, self.begun) else {
            return Ok(());
        };
        let mut text = serde_json::to_vec(line).map_err(|error| {
            Error::new(ErrorKind::Other, "cannot encode a line of history").with_source(error)
        })?;
        text.push(b'\n');
        file.write_all(&text).map_err(|error| cannot_write(path, error))
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Other,
        format!("cannot write {}: choose a folder that can be written to", path.display()),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(usd: f64) -> HistoryEvent {
        HistoryEvent::Reserved { epoch: 0, usd }
    }

    fn settled(usd: f64) -> HistoryEvent {
        HistoryEvent::Settled { epoch: 0, usd }
    }

    #[test]
    fn what_was_never_settled_counts_as_spent() {
        assert_eq!(spent(&[reserved(3.0), settled(1.0)]), Usd::new(1.0));
        assert_eq!(
            spent(&[reserved(3.0), settled(1.0), reserved(3.0), reserved(0.5)]),
            Usd::new(4.5)
        );
        // A driver dies, the next one settles its own money and is stopped before a barrier.
        let (started, again) = (HistoryEvent::started(0), HistoryEvent::started(0));
        let lines = [started, reserved(3.0), again, reserved(2.0), settled(1.0)];
        assert_eq!(spent(&lines), Usd::new(4.0));
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_dropped_and_the_next_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut history = History::open(Some(folder.path()), false).unwrap();
        history.begin(&reserved(1.0)).unwrap();
        drop(history);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"event\":\"sett");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read_history(&path).unwrap(), [reserved(1.0)]);
        let mut history = History::open(Some(folder.path()), true).unwrap();
        history.begin(&settled(1.0)).unwrap();
        assert_eq!(read_history(&path).unwrap(), [reserved(1.0), settled(1.0)]);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_corrupt_and_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let started = r#"{"event":"started","schema":2,"epoch":0}"#;
        std::fs::write(&path, format!("{started}\nnonsense\n")).unwrap();
        let error = read_history(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("line 2"), "{error}");
    }

    #[test]
    fn another_schema_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let ours = r#"{"event":"started","schema":2,"epoch":0}"#;
        let first = r#"{"event":"started","epoch":0}"#;
        let newer = r#"{"event":"started","schema":3,"epoch":4,"why":"resumed"}"#;
        for (lines, schema) in [(first.to_owned(), 1), (format!("{ours}\n{newer}"), 3)] {
            std::fs::write(&path, format!("{lines}\n{{\"event\":\"unknown\"}}\n")).unwrap();
            let error = read_history(&path).unwrap_err();
            refused(&error, &path, schema);
        }
    }

    #[test]
    fn a_record_of_another_schema_is_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        for schema in [1, 3] {
            let text = format!("{{\"schema\": {schema}, \"setting\": {{}}}}");
            std::fs::write(&path, &text).unwrap();
            refused(&RunRecord::load(&path).unwrap_err(), &path, schema);
            let error = RunRecord::from_json(text.as_bytes()).unwrap_err();
            assert!(error.message().contains(&format!("has schema {schema}")), "{error}");
        }
        let error = RunRecord::from_json(b"{\"schema\": 2}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let error = RunRecord::load(folder.path().join("missing.json")).unwrap_err();
        assert!(error.message().contains("missing.json"), "{error}");
    }

    /// The line names the file, its schema, ours and the remedy.
    fn refused(error: &Error, path: &Path, schema: u32) {
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let line = error.chain();
        assert!(!line.contains('\n'), "{line}");
        let name = path.display().to_string();
        for part in
            [&name, &format!("schema {schema},"), "reads schema 2", "run the training again"]
        {
            assert!(line.contains(part), "{part} is missing: {line}");
        }
    }
}
