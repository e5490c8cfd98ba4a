//! Facts as values, and the macros that list them.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{Builder, current};
use std::time::Duration;

/// The time after which a fact counts as failed, so that an endless wait does not hang a test.
pub const FACT_TIMEOUT: Duration = Duration::from_secs(60);

/// A property that a contract demands of every implementation.
pub struct Fact<S> {
    /// The property in words, with underscores for spaces.
    pub name: &'static str,
    check: fn(&S),
}

impl<S: Send + 'static> Fact<S> {
    /// A fact that is checked by `check`, which panics if it does not hold.
    pub const fn new(name: &'static str, check: fn(&S)) -> Self {
        Self { name, check }
    }

    /// Checks the fact on a new thread.
    ///
    /// # Panics
    ///
    /// When the fact does not hold, or takes longer than `timeout`.
    pub fn check(&self, subject: S, timeout: Duration) {
        let (done, is_done) = channel::<()>();
        let check = self.check;
        let thread = Builder::new()
            .name(thread_name())
            .spawn(move || {
                let _done = done;
                check(&subject);
            })
            .expect("the system starts a thread");
        // The sender is dropped at the end of the fact, also when it panics.
        if is_done.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            panic!("{} took more than {timeout:?}: is it waiting?", self.name);
        }
        if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    }
}

/// Runs `body` on `threads` threads at once, and panics if one of them does.
pub(super) fn on_threads(threads: usize, body: impl Fn(usize) + Sync) {
    let body = &body;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|index| {
                Builder::new()
                    .name(thread_name())
                    .spawn_scoped(scope, move || body(index))
                    .expect("the system starts a thread")
            })
            .collect();
        for thread in running {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    });
}

/// The name of the current thread. New threads take it, so that their failures are reported under
/// the name of the test.
fn thread_name() -> String {
    current().name().unwrap_or("fact").to_owned()
}

/// Makes a module with a test for each fact of a list macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __fact_tests {
    ([$name:ident, $subject:expr] $module:ident: $($fact:ident)*) => {
        #[cfg(test)]
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $fact() {
                    let fact = $crate::conformance::Fact::new(
                        stringify!($fact),
                        $crate::conformance::$module::$fact,
                    );
                    fact.check($subject, $crate::conformance::FACT_TIMEOUT);
                }
            )*
        }
    };
}

/// Makes an array of the facts of a list macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __fact_list {
    ([] $module:ident: $($fact:ident)*) => {
        &[$($crate::conformance::Fact::new(
            stringify!($fact),
            $crate::conformance::$module::$fact,
        )),*]
    };
}
