//! Files that may be compressed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use siren_core::{Error, ErrorKind, Result};

/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file for reading, and unpacks it if it is compressed by gzip. Its first bytes decide, not
/// its name. An empty file reads as empty.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] if the file cannot be opened or read; the message names it.
pub fn open(path: impl AsRef<Path>) -> Result<Box<dyn BufRead + Send>> {
    let path = path.as_ref();
    unpacked(path).map_err(|error| {
        Error::new(ErrorKind::Other, format!("cannot read the data file {}", path.display()))
            .with_source(error)
    })
}

fn unpacked(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::new(File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn plain_and_compressed_files_read_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let packed = |text: &str| {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(text.as_bytes()).unwrap();
            packer.finish().unwrap()
        };
        for bytes in
            [b"two lines".to_vec(), packed("two lines"), [packed("two "), packed("lines")].concat()]
        {
            std::fs::write(&path, bytes).unwrap();
            let mut text = String::new();
            open(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "two lines");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = open("no/such/file").err().unwrap();
        assert!(error.message().contains("no/such/file"), "{error}");
    }
}
