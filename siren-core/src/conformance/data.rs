//! Facts of a [`DataSource`].

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;

use super::Fact;
use super::drive::{Driven, Driver, cancel_after};
use crate::{DataSource, ErrorKind, Result};

/// The data source under test.
pub struct Subject {
    source: Box<dyn DataSource>,
    driver: Driver,
}

impl Subject {
    /// A source of at least one example. A small source keeps the tests fast.
    pub fn new(source: impl DataSource + 'static) -> Self {
        Self { source: Box::new(source), driver: Driver::default() }
    }

    /// Sets the function that blocks on futures. It is called on any thread.
    #[must_use]
    pub fn driven(mut self, run: impl for<'a> Fn(Driven<'a>) + Send + Sync + 'static) -> Self {
        self.driver = Driver::new(run);
        self
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.driver.run(future)
    }

    async fn fetch(&self, range: Range<u64>) -> Vec<u8> {
        let what = format!("{range:?}");
        self.source.fetch(range).await.expect(&what)
    }
}

/// Parts of the data that are fetched in any order have the same bytes as the whole, one after the
/// other.
pub fn parts_make_up_the_whole(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        let whole = subject.fetch(0..len).await;
        assert!(!whole.is_empty(), "{len} examples have no bytes");
        for parts in [1, 2, 3, 7].into_iter().filter(|&parts| parts <= len) {
            let cut = |i| len * i / parts;
            let mut fetched = vec![Vec::new(); parts as usize];
            for part in (0..parts).rev() {
                fetched[part as usize] = subject.fetch(cut(part)..cut(part + 1)).await;
            }
            assert!(fetched.concat() == whole, "{parts} parts differ from the whole");
        }
        for middle in [1, len / 2, len.saturating_sub(1)] {
            let parts = [subject.fetch(0..middle).await, subject.fetch(middle..len).await];
            assert!(
                parts.concat() == whole,
                "the parts before and after {middle} differ from the whole"
            );
        }
    });
}

/// The same range always has the same bytes, also for several readers at once.
pub fn a_range_always_has_the_same_bytes(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        let ranges = [0..len, 0..1, len - 1..len, 0..len];
        let reads = ranges.clone().map(|range| subject.fetch(range));
        let at_once = futures::future::join_all(reads).await;
        for (range, first) in ranges.into_iter().zip(at_once) {
            assert!(subject.fetch(range.clone()).await == first, "{range:?}");
        }
    });
}

/// The number of examples does not change, and `is_empty` agrees with it.
pub fn the_number_of_examples_stays(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        assert!(len > 0, "the suite needs at least one example");
        subject.fetch(0..1).await;
        subject.fetch(0..len).await;
        assert_eq!(subject.source.len(), len);
        assert!(!subject.source.is_empty());
    });
}

/// An empty range within the data has no bytes.
pub fn an_empty_range_has_no_bytes(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        for at in [0, len / 2, len] {
            assert_eq!(subject.fetch(at..at).await, [], "{at}..{at}");
        }
    });
}

/// A range that ends past the data is rejected.
pub fn a_range_past_the_end_is_rejected(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        for range in [
            0..len + 1,
            len..len + 1,
            len + 1..len + 1,
            len + 1..len + 2,
            0..u64::MAX,
            u64::MAX - 1..u64::MAX,
        ] {
            rejected(subject.source.fetch(range.clone()).await, &range);
        }
    });
}

/// A range that ends before it starts is rejected.
pub fn a_reversed_range_is_rejected(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        for (start, end) in [(1, 0), (len, len - 1), (len, 0), (u64::MAX, 0)] {
            let range = Range { start, end };
            rejected(subject.source.fetch(range.clone()).await, &range);
        }
    });
}

/// A fetch that is cancelled at any point has no effect on later ones.
pub fn a_cancelled_fetch_can_be_repeated(subject: &Subject) {
    subject.run(async {
        let len = subject.source.len();
        let whole = subject.fetch(0..len).await;
        for polls in 0..1_000 {
            let done = cancel_after(polls, subject.fetch(0..len)).await;
            assert!(subject.fetch(0..len).await == whole, "after {polls} polls");
            if done.is_some() {
                break;
            }
        }
    });
}

#[track_caller]
fn rejected<T: Debug>(result: Result<T>, range: &Range<u64>) {
    match result {
        Err(error) => assert_eq!(error.kind(), ErrorKind::Rejected, "{range:?}: {error}"),
        Ok(_) => panic!("{range:?} is accepted"),
    }
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__data_facts!(__fact_list);

/// Makes a test for each fact of a [`DataSource`]: `data_tests!(module_name, subject)`.
///
/// ```text
/// data_tests!(in_memory, data::Subject::new(MyData::new(vec![0; 100])));
/// ```
#[macro_export]
macro_rules! data_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__data_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __data_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] data:
            parts_make_up_the_whole
            a_range_always_has_the_same_bytes
            the_number_of_examples_stays
            an_empty_range_has_no_bytes
            a_range_past_the_end_is_rejected
            a_reversed_range_is_rejected
            a_cancelled_fetch_can_be_repeated
        }
    };
}
