//! Checks which facts a wrong implementation fails.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread::{Builder, current};
use std::time::Duration;

use siren_core::conformance::Fact;

/// The timeout of a fact, since a wrong implementation may wait without end.
const FACT_TIMEOUT: Duration = Duration::from_secs(1);

/// The number of attempts in which a fault must be found, since some faults only appear in races
/// between threads.
const CHANCES: u32 = 20;

/// The name of the threads on which panics are expected.
const QUIET: &str = "bite";

/// Panics unless the subjects that `make` makes fail all facts named by `expected`, and satisfy
/// another one. If every fact failed, the failures would not show that the right facts find the
/// fault.
pub(crate) fn bites<S: Send + 'static>(
    facts: &'static [Fact<S>],
    make: impl Fn() -> S + Send + 'static,
    expected: &'static [&'static str],
) {
    silence();
    let thread = Builder::new().name(QUIET.into()).spawn(move || {
        let holds = |fact: &Fact<S>| {
            catch_unwind(AssertUnwindSafe(|| fact.check(make(), FACT_TIMEOUT))).is_ok()
        };
        let unnoticed = expected.iter().find(|&&name| {
            let fact = facts.iter().find(|fact| fact.name == name);
            fact.is_none_or(|fact| (0..CHANCES).all(|_| holds(fact)))
        });
        let mut others = facts.iter().filter(|fact| !expected.contains(&fact.name));
        (unnoticed, others.any(holds))
    });
    let (unnoticed, another_holds) = thread.unwrap().join().unwrap();
    assert_eq!(unnoticed, None, "this fact does not notice, or does not exist");
    assert!(another_holds, "every fact fails, so nothing is shown");
}

/// Makes a test for each fault, which checks that these facts find it: `name: Fault => fact, fact;
/// …`, with a function that makes a subject with a fault. With `every`, it also checks that every
/// fact is named for some fault.
macro_rules! faults {
    (every $facts:expr, $make:expr; $($test:ident: $fault:ident => $($fact:ident)*;)*) => {
        crate::bite::faults! { $facts, $make; $($test: $fault => $($fact)*;)* }

        #[test]
        fn every_fact_notices_a_fault() {
            let named = [$($(stringify!($fact)),*),*];
            let mut facts = $facts.iter().map(|fact| fact.name);
            assert_eq!(facts.find(|fact| !named.contains(fact)), None);
        }
    };
    ($facts:expr, $make:expr; $($test:ident: $fault:ident => $($fact:ident)*;)*) => {$(
        #[test]
        fn $test() {
            crate::bite::bites($facts, || $make(Fault::$fault), &[$(stringify!($fact)),*]);
        }
    )*};
}
pub(crate) use faults;

/// Hides the expected panics, which all happen on threads with this name.
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
