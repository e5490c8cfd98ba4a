//! Results of a bench.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// The path of a file of results.
pub(crate) fn file(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    target.join("siren/bench").join(name)
}

/// Writes rows as JSON.
pub(crate) fn write<T: Serialize>(rows: &[T], name: &str) {
    let file = file(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, serde_json::to_string_pretty(rows).unwrap() + "\n").unwrap();
    println!("written to {}", file.display());
}

/// The median.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `true` under `cargo bench`, `false` when the bench runs as a test.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
