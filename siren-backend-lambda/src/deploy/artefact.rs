//! A function's code as a zip file for upload.

use std::fmt;
use std::io::{Cursor, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use siren_core::{Error, ErrorKind, Result};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Architecture;

/// The largest zip that can be uploaded in a request, in bytes. Source: the quotas of Lambda.
const MOST_ZIPPED: usize = 50 * 1024 * 1024;
/// The largest unzipped size, in bytes. Source: the quotas of Lambda.
const MOST_UNZIPPED: usize = 250 * 1024 * 1024;
/// The glibc of Amazon Linux 2023.
const GLIBC: (u32, u32) = (2, 34);

/// A function's code, ready for upload. The same binary gives the same bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Artefact {
    zip: Vec<u8>,
    code_sha256: String,
    architecture: Architecture,
    glibc: Option<(u32, u32)>,
}

impl Artefact {
    /// Zips an executable under the name that Lambda starts, `bootstrap`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when the binary is not an executable for this architecture,
    /// or is too large.
    pub fn package(binary: &[u8], architecture: Architecture) -> Result<Self> {
        architecture.check(binary)?;
        check_size(binary.len(), MOST_UNZIPPED, "")?;
        let zip = zip_of(binary).map_err(|error| {
            Error::new(ErrorKind::Other, "the binary cannot be zipped").with_source(error)
        })?;
        check_size(zip.len(), MOST_ZIPPED, " when zipped")?;
        let code_sha256 = BASE64_STANDARD.encode(Sha256::digest(&zip));
        Ok(Self { zip, code_sha256, architecture, glibc: newest_glibc(binary) })
    }

    /// The zip.
    pub fn zip(&self) -> &[u8] {
        &self.zip
    }

    /// The SHA-256 of the zip in base 64, as Lambda reports it.
    pub fn code_sha256(&self) -> &str {
        &self.code_sha256
    }

    /// The architecture that the binary is built for.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// A warning if the binary may not start: it needs a newer glibc than functions have.
    pub fn warning(&self) -> Option<String> {
        let (major, minor) = self.glibc.filter(|glibc| *glibc > GLIBC)?;
        Some(format!(
            "the binary may ask for glibc {major}.{minor}, and functions have {}.{}: if it does not start, \
             build it with `cargo lambda build` or for a musl target",
            GLIBC.0, GLIBC.1
        ))
    }
}

impl fmt::Debug for Artefact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artefact")
            .field("zipped_bytes", &self.zip.len())
            .field("code_sha256", &self.code_sha256)
            .field("architecture", &self.architecture)
            .finish_non_exhaustive()
    }
}

fn zip_of(binary: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    // A fixed time, so that the hash of the zip changes only with the code.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", options)?;
    zip.write_all(binary)?;
    Ok(zip.finish()?.into_inner())
}

fn check_size(bytes: usize, most: usize, when: &str) -> Result<()> {
    if bytes <= most {
        return Ok(());
    }
    let mb = |bytes: usize| bytes.div_ceil(1024 * 1024);
    Err(Error::rejected(format!(
        "the binary has {} MB{when}, and Lambda takes {}: build it with --release and `strip = true`, or \
         run `strip` on it",
        mb(bytes),
        mb(most)
    )))
}

/// The newest version of glibc that the binary names. The names are in its string table, so a
/// search of the bytes finds them without parsing the format. A similar text in the program counts
/// too.
fn newest_glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const NAME: &[u8] = b"GLIBC_";
    let mut newest = None;
    let mut rest = binary;
    while let Some(at) = rest.iter().position(|byte| *byte == NAME[0]) {
        rest = &rest[at..];
        if let Some(version) = rest.strip_prefix(NAME) {
            newest = newest.max(version_at(version));
        }
        rest = &rest[1..];
    }
    newest
}

fn version_at(text: &[u8]) -> Option<(u32, u32)> {
    let text = text.get(..text.len().min(8))?;
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
    let mut numbers = std::str::from_utf8(&text[..end]).ok()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::architecture::tests::elf;
    use super::*;

    #[test]
    fn the_same_binary_gives_the_same_zip_and_hash() {
        let one = Artefact::package(&elf(183), Architecture::Arm64).unwrap();
        let two = Artefact::package(&elf(183), Architecture::Arm64).unwrap();
        assert_eq!(one, two);
        let mut other = elf(183);
        *other.last_mut().unwrap() = 1;
        let other = Artefact::package(&other, Architecture::Arm64).unwrap();
        assert_ne!(one.code_sha256(), other.code_sha256());
        assert_eq!(BASE64_STANDARD.decode(one.code_sha256()).unwrap().len(), 32);
    }

    #[test]
    fn a_zip_holds_an_executable_bootstrap() {
        let artefact = Artefact::package(&elf(62), Architecture::X86_64).unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(artefact.zip())).unwrap();
        assert_eq!(zip.len(), 1);
        let mut file = zip.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().unwrap() & 0o7777, 0o755);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, elf(62));
    }

    #[test]
    fn what_is_too_large_is_refused_and_strip_is_named() {
        check_size(MOST_ZIPPED, MOST_ZIPPED, "").unwrap();
        let error = check_size(MOST_ZIPPED + 1, MOST_ZIPPED, " when zipped").unwrap_err();
        assert!(error.message().contains("51 MB when zipped"), "{error}");
        assert!(error.message().contains("`strip`"), "{error}");
    }

    #[test]
    fn a_newer_glibc_than_functions_have_is_warned_of() {
        let warning = |names: &[u8]| {
            let binary = [&elf(62), names].concat();
            Artefact::package(&binary, Architecture::X86_64).unwrap().warning()
        };
        assert_eq!(warning(b"\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_\0"), None);
        assert_eq!(warning(b"\0no libc\0G"), None);
        assert!(warning(b"\0GLIBC_2.9\0GLIBC_2.36\0").unwrap().contains("glibc 2.36"));
    }

    #[test]
    fn debug_shows_no_code() {
        let artefact = Artefact::package(&elf(62), Architecture::X86_64).unwrap();
        assert!(!format!("{artefact:?}").contains("ELF"));
        assert!(format!("{artefact:?}").len() < 200);
    }
}
