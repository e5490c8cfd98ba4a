//! Builds a function's binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use siren_core::{Error, ErrorKind, Result};

use super::Architecture;

/// Builds the only binary of a package with cargo-lambda and returns its path. The package belongs
/// to the workspace in the current folder. The build uses the workspace's release profile, and the
/// binary is stripped. Blocks until the build ends; cargo prints its progress.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`] when cargo-lambda is not installed, or when the package does not
/// exist or does not have exactly one binary. Returns [`ErrorKind::Other`] when the build fails.
pub fn build(package: &str, architecture: Architecture) -> Result<PathBuf> {
    let found = bootstrap(&metadata()?, package)?;
    let quiet = Command::new("cargo")
        .args(["lambda", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !quiet.is_ok_and(|status| status.success()) {
        return Err(Error::rejected(
            "cargo-lambda is not installed: run `pip install cargo-lambda` (it brings zig), `brew install \
             cargo-lambda`, or `cargo install cargo-lambda` and `pip install ziglang`; or build the binary \
             yourself and give its path",
        ));
    }
    let mut command = Command::new("cargo");
    command.args(["lambda", "build", "--release", "--output-format", "binary"]);
    // By default cargo-lambda sets `panic = "abort"`: the panic message would not be reported, and
    // the environment would have to restart. Of its other optimizations, stripping and the target
    // CPU are set here; link-time optimization takes longer than it is worth.
    command.arg("--disable-optimizations").env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let cpu = match architecture {
        Architecture::Arm64 => "neoverse-n1",
        Architecture::X86_64 => "haswell",
    };
    command.args(["--config", &format!("build.rustflags=['-Ctarget-cpu={cpu}']")]);
    command.args(["--package", package]);
    command.arg(match architecture {
        Architecture::Arm64 => "--arm64",
        Architecture::X86_64 => "--x86-64",
    });
    let status = command.status().map_err(|error| {
        Error::new(ErrorKind::Other, "cargo lambda cannot be started").with_source(error)
    })?;
    if !status.success() {
        return Err(Error::new(
            ErrorKind::Other,
            format!("cargo lambda could not build {package}: see what it printed above"),
        ));
    }
    Ok(found)
}

/// The part of the output of `cargo metadata` that is used here.
#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn metadata() -> Result<Metadata> {
    let failed = || {
        Error::rejected(
            "cargo cannot read a workspace in this folder: run this in the function's workspace",
        )
    };
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| failed().with_source(error))?;
    if !output.status.success() {
        return Err(failed());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed().with_source(error))
}

/// The path at which cargo-lambda puts the binary of a package.
fn bootstrap(metadata: &Metadata, package: &str) -> Result<PathBuf> {
    let Some(found) = metadata.packages.iter().find(|found| found.name == package) else {
        return Err(Error::rejected(format!(
            "the workspace in this folder has no package {package}: give the name in its Cargo.toml"
        )));
    };
    let is_binary = |target: &&Target| target.kind.iter().any(|kind| kind == "bin");
    let mut binaries = found.targets.iter().filter(is_binary);
    match (binaries.next(), binaries.next()) {
        (Some(binary), None) => Ok(metadata
            .target_directory
            .join("lambda")
            .join(&binary.name)
            .join(Path::new("bootstrap"))),
        (None, _) => Err(Error::rejected(format!(
            "the package {package} has no binary: name one that serves a workload"
        ))),
        _ => Err(Error::rejected(format!(
            "the package {package} has more than one binary: build it yourself and \
             give the path of one"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_of_a_package_is_found_where_cargo_lambda_puts_it() {
        let metadata: Metadata = serde_json::from_str(
            r#"{"target_directory": "/t", "version": 1, "packages": [
                {"name": "one", "targets": [{"name": "boot", "kind": ["bin"]}, {"name": "x", "kind": ["test"]}]},
                {"name": "two", "targets": [{"name": "a", "kind": ["bin"]}, {"name": "b", "kind": ["bin"]}]},
                {"name": "lib", "targets": [{"name": "lib", "kind": ["lib"]}]}]}"#,
        )
        .unwrap();
        assert_eq!(bootstrap(&metadata, "one").unwrap(), Path::new("/t/lambda/boot/bootstrap"));
        for (package, says) in
            [("two", "more than one binary"), ("lib", "no binary"), ("three", "no package three")]
        {
            let error = bootstrap(&metadata, package).unwrap_err();
            assert!(error.message().contains(says), "{error}");
        }
    }

    #[test]
    fn this_workspace_is_read() {
        let metadata = metadata().unwrap();
        bootstrap(&metadata, "siren-lenet-function").unwrap();
        let error = bootstrap(&metadata, "no-such-package").unwrap_err();
        assert!(error.message().contains("no-such-package"), "{error}");
    }
}
