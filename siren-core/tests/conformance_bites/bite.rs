//! Sees which facts a wrong implementation fails.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread::{Builder, current};
use std::time::Duration;

use siren_core::conformance::Fact;

/// How long a fact may take here: a wrong implementation may well wait for ever.
const PATIENCE: Duration = Duration::from_secs(2);

const QUIET: &str = "bite";

/// Panics unless the subjects that `make` makes fail all facts named by `expected`, and pass most
/// of the others.
pub(crate) fn bites<S: Send + 'static>(
    facts: &'static [Fact<S>],
    make: impl Fn() -> S + Send + 'static,
    expected: &[&str],
) {
    for name in expected {
        assert!(
            facts.iter().any(|fact| fact.name == *name),
            "there is no fact called {name}"
        );
    }
    silence();
    let failed: Vec<&str> = Builder::new()
        .name(QUIET.into())
        .spawn(move || {
            facts
                .iter()
                .filter(|fact| {
                    catch_unwind(AssertUnwindSafe(|| fact.check(make(), PATIENCE))).is_err()
                })
                .map(|fact| fact.name)
                .collect()
        })
        .unwrap()
        .join()
        .unwrap();
    for name in expected {
        assert!(
            failed.contains(name),
            "{name} does not bite; these do: {failed:?}"
        );
    }
    assert!(
        failed.len() < facts.len(),
        "everything fails, so nothing is shown"
    );
}

/// Keeps the panics that are expected, which all happen on threads called like this, off the
/// terminal.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if current().name() != Some(QUIET) {
                hook(info);
            }
        }));
    });
}
