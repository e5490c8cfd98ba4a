//! A correct data source, and wrong ones.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use siren_core::conformance::data::{self, Subject};
use siren_core::conformance::data_tests;
use siren_core::{DataSource, Error, Result};

use super::bite::faults;
use super::store::yield_now;

data_tests!(records_in_memory, Subject::new(Records::new(10)));

/// The fault of a data source.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    CutsTheEnd,
    EmptyIsRejected,
    EndsOneEarly,
    GoesOnWhereItWas,
    Grows,
    ReversedIsEmpty,
}

/// Examples of three bytes each.
pub(crate) struct Records {
    bytes: Vec<u8>,
    fetched: AtomicU64,
    fault: Option<Fault>,
}

impl Records {
    pub(crate) fn new(examples: u8) -> Self {
        Self { bytes: (0..3 * examples).collect(), fetched: AtomicU64::new(0), fault: None }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

#[async_trait]
impl DataSource for Records {
    fn len(&self) -> u64 {
        let grown = match self.has(Fault::Grows) {
            true => self.fetched.load(Ordering::Relaxed).min(1),
            false => 0,
        };
        self.bytes.len() as u64 / 3 - grown
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let before = self.fetched.fetch_add(1, Ordering::Relaxed);
        let Range { mut start, mut end } = range;
        if start > end && self.has(Fault::ReversedIsEmpty) {
            return Ok(Vec::new());
        }
        let len = self.bytes.len() as u64 / 3;
        if end > len && self.has(Fault::CutsTheEnd) {
            end = len;
            start = start.min(len);
        }
        if start > end || end > len || (start == end && self.has(Fault::EmptyIsRejected)) {
            return Err(Error::rejected(format!("examples {start}..{end} of {len}")));
        }
        yield_now().await;
        if self.has(Fault::EndsOneEarly) && end - start > 1 {
            end -= 1;
        }
        let mut bytes = self.bytes[3 * start as usize..3 * end as usize].to_vec();
        if self.has(Fault::GoesOnWhereItWas) {
            let by = before as usize % bytes.len().max(1);
            bytes.rotate_left(by);
        }
        Ok(bytes)
    }
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(Records { fault: Some(fault), ..Records::new(10) })
}

faults! { data::FACTS, with_fault;
    ranges_that_are_cut_at_the_end: CutsTheEnd => a_range_past_the_end_is_rejected;
    reversed_ranges_that_are_empty: ReversedIsEmpty => a_reversed_range_is_rejected;
    empty_ranges_that_are_rejected: EmptyIsRejected => an_empty_range_has_no_bytes;
    ranges_that_end_one_early: EndsOneEarly => parts_make_up_the_whole;
    a_source_that_goes_on_where_it_was: GoesOnWhereItWas =>
        a_range_always_has_the_same_bytes a_cancelled_fetch_can_be_repeated;
    a_source_that_changes_its_length: Grows => the_number_of_examples_stays;
}
