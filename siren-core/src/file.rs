//! Atomic replacement of files.

use std::io::Write;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

/// Replaces the file at `path` by the bytes that `write` writes. A crash or an error leaves either
/// the old file or the complete new one.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`], naming the file, when it cannot be written.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let attempt = || {
        let mut file = temporary(folder.unwrap_or(Path::new(".")))?;
        {
            let mut buffer = std::io::BufWriter::with_capacity(1 << 16, file.as_file_mut());
            write(&mut buffer)?;
            buffer.flush()?;
        }
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|error: std::io::Error| {
        Error::new(
            ErrorKind::Other,
            format!(
                "cannot write {}: choose a folder that can be written to and has space",
                path.display()
            ),
        )
        .with_source(error)
    })
}

/// A new file in `folder`, with the permissions that the process's umask allows.
fn temporary(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(".siren-").tempfile_in(folder)
}
