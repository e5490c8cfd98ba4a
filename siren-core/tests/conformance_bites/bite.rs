//! Sees which facts a wrong implementation fails.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::thread::{Builder, current};
use std::time::Duration;

use siren_core::conformance::Fact;

/// How long a fact may take here: a wrong implementation may well wait for ever.
const FACT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a wrong implementation may get away, when threads race and it depends on who wins.
const CHANCES: u32 = 20;

/// The name of the threads on which panics are wanted.
const QUIET: &str = "bite";

/// Panics unless the subjects that `make` makes fail all facts named by `expected`, and satisfy
/// another one: a fact that nothing satisfies shows nothing.
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

/// Makes a test for each fault, which sees that these facts notice:
/// `name: Fault => fact, fact; …`, with what makes a subject of a fault. With `every`, it also sees that
/// each fact is named by a fault.
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
