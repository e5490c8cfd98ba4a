//! The processor architectures of functions.

use std::fmt;
use std::str::FromStr;

use siren_core::{Error, Result};

/// The processor architecture that a function runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit ARM, at four fifths of the price of x86.
    #[default]
    Arm64,
    /// 64-bit x86.
    X86_64,
}

impl Architecture {
    /// Checks that a binary is built for this architecture, by its ELF header.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the binary is not a
    /// 64-bit executable for Linux, or is built for another architecture.
    pub fn check(self, binary: &[u8]) -> Result<()> {
        let Some(machine) = machine(binary) else {
            return Err(Error::rejected(
                "the binary is no 64-bit executable for Linux: build it with `cargo lambda build`, or \
                 give the path of the `bootstrap` file it made",
            ));
        };
        if machine == self.machine() {
            return Ok(());
        }
        let is = match machine {
            ARM64 => "arm64".to_owned(),
            X86_64 => "x86_64".to_owned(),
            other => format!("machine {other} of the ELF list"),
        };
        Err(Error::rejected(format!(
            "the binary is for {is} and the function for {self}: build it for {self}, or choose the other \
             architecture"
        )))
    }

    fn machine(self) -> u16 {
        match self {
            Self::Arm64 => ARM64,
            Self::X86_64 => X86_64,
        }
    }
}

/// The machine numbers in an ELF header.
const ARM64: u16 = 183;
const X86_64: u16 = 62;

/// The machine of a 64-bit little-endian ELF executable.
fn machine(binary: &[u8]) -> Option<u16> {
    const MAGIC: &[u8] = b"\x7fELF\x02\x01";
    let header = binary.get(..20).filter(|header| header.starts_with(MAGIC))?;
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let executable = matches!(half(16), 2 | 3);
    executable.then(|| half(18))
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        })
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "arm64" | "aarch64" => Ok(Self::Arm64),
            "x86_64" | "x86-64" | "amd64" => Ok(Self::X86_64),
            other => Err(Error::rejected(format!(
                "Lambda has no architecture `{other}`: give arm64 or x86_64"
            ))),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The start of an executable for a machine.
    pub(in crate::deploy) fn elf(machine: u16) -> Vec<u8> {
        let mut binary = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
        binary.extend(machine.to_le_bytes());
        binary.extend([0; 64]);
        binary
    }

    #[test]
    fn a_binary_for_another_machine_is_refused_and_named() {
        Architecture::Arm64.check(&elf(183)).unwrap();
        Architecture::X86_64.check(&elf(62)).unwrap();
        let error = Architecture::Arm64.check(&elf(62)).unwrap_err();
        assert!(error.message().contains("is for x86_64 and the function for arm64"), "{error}");
        let error = Architecture::X86_64.check(&elf(243)).unwrap_err();
        assert!(error.message().contains("machine 243"), "{error}");
    }

    #[test]
    fn what_is_no_executable_is_refused() {
        let mut object = elf(183);
        object[16] = 1;
        let mut narrow = elf(183);
        narrow[4] = 1;
        for binary in [&b""[..], b"#!/bin/sh\n", &elf(183)[..19], &object, &narrow] {
            let error = Architecture::Arm64.check(binary).unwrap_err();
            assert!(error.message().contains("no 64-bit executable"), "{error}");
        }
    }

    #[test]
    fn this_test_is_for_the_machine_that_runs_it() {
        let binary = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let here: Architecture = std::env::consts::ARCH.parse().unwrap();
        here.check(&binary).unwrap();
    }

    #[test]
    fn names_are_read_back() {
        for architecture in [Architecture::Arm64, Architecture::X86_64] {
            assert_eq!(architecture.to_string().parse::<Architecture>().unwrap(), architecture);
        }
        assert!("riscv".parse::<Architecture>().is_err());
    }
}
