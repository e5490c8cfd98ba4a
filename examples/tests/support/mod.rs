//! Runs the example programs that are built beside the tests.

#![allow(dead_code, unreachable_pub, reason = "each test file is a crate that uses a part")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// The program of an example, which cargo builds with the tests.
pub fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    let path = path.join(name);
    assert!(path.exists(), "{} is missing: run the tests by cargo test", path.display());
    Command::new(path)
}

/// The folder with the bundled data.
pub fn data() -> PathBuf {
    siren_examples::mnist::bundled()
}

/// The text that a program wrote to standard output and standard error.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
