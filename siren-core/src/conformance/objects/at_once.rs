//! Simultaneous requests.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Storage, Subject, WRITERS, changed};
use crate::ErrorKind;
use crate::objects::{Tag, Written};

/// Of several simultaneous creations of one object exactly one succeeds, and its bytes stay. The
/// others may be throttled.
pub fn one_of_many_creations_succeeds(subject: &Subject) {
    let objects = subject.run(subject.make());
    for round in 0..subject.writes.min(10) {
        let key = format!("key-{round}");
        let written = subject.at_once(|writer| {
            let (objects, key) = (&objects, &key);
            async move {
                let bytes = [writer as u8; 100];
                loop {
                    match objects.0.put_if_absent(key, &bytes).await {
                        Ok(Written::Done(tag)) => return Some((bytes.to_vec(), tag)),
                        Ok(Written::Refused) => return None,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Throttled, "{error}"),
                    }
                }
            }
        });
        assert_eq!(written.len(), WRITERS);
        let winners: Vec<_> = written.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "winners of one object");
        assert!(
            subject.run(objects.read(&key)) == winners[0],
            "the created object is not the winner's"
        );
    }
}

/// Writers that read a number and replace it by the next one, and retry when they are refused, lose
/// no increment. All writers read the number before the first write, so that all but one of their
/// first writes are refused.
pub fn increments_by_compare_and_swap_are_never_lost(subject: &Subject) {
    let objects = subject.run(subject.make());
    subject.run(objects.create("count", b"0"));
    let first = Mutex::new(subject.at_once(|_| objects.read("count")));
    let done = subject.at_once(|_| async {
        let read = first.lock().expect("no writer panicked").pop();
        let (bytes, tag) = read.expect("one read for each writer");
        let first = increment(&objects, &bytes, &tag).await;
        for _ in u32::from(first)..subject.writes {
            loop {
                let (bytes, tag) = objects.read("count").await;
                if increment(&objects, &bytes, &tag).await {
                    break;
                }
            }
        }
        first
    });
    let refused = done.iter().filter(|&&done| !done).count();
    assert!(refused >= WRITERS - 1, "of {WRITERS} writes to one state, {refused} are refused");
    let (bytes, _) = subject.run(objects.read("count"));
    let expected = u64::from(subject.writes) * WRITERS as u64;
    assert_eq!(String::from_utf8_lossy(&bytes), expected.to_string());
}

/// Writes the next number, and returns `false` if the write is refused.
async fn increment(objects: &Storage, bytes: &[u8], tag: &Tag) -> bool {
    let count: u64 = String::from_utf8_lossy(bytes).parse().expect("a number");
    let next = (count + 1).to_string();
    matches!(objects.put_if_unchanged("count", tag, next.as_bytes()).await, Written::Done(_))
}

/// A read during writes sees the bytes and the tag of one state, and a tag always belongs to the
/// same state.
pub fn a_read_among_writes_sees_one_state(subject: &Subject) {
    let states = States::default();
    let objects = subject.run(subject.make());
    subject.run(states.write(&objects, None));
    subject.at_once(|writer| {
        let (states, objects) = (&states, &objects);
        async move {
            for _ in 0..subject.writes {
                // Each thread has readers and writers.
                if writer < WRITERS / 2 {
                    let (bytes, tag) = objects.read("key").await;
                    states.check_tag(whole(&bytes), &tag);
                    states.write(objects, Some(&tag)).await;
                } else {
                    let start = objects.get_start("key", None, START as u64).await;
                    let (bytes, tag) = changed("key", start);
                    states.check_tag(beginning(&bytes), &tag);
                    let range = objects.get_range("key", 0, 1 << 20).await;
                    whole(&range.expect("the object exists"));
                    let (bytes, tag) = objects.read("key").await;
                    states.check_tag(whole(&bytes), &tag);
                }
            }
        }
    });
}

/// The bytes in a read of an object's start. Every state has more.
const START: usize = 128;

/// The bytes of a state: its number, repeated. The number of repetitions differs between states.
fn state(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(20 + number as usize % 7)
}

/// The number of the state that has these bytes.
fn whole(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().expect("no state is empty");
    let number = u64::from_le_bytes(*first);
    assert!(bytes == state(number), "these are not the bytes of one state: {bytes:?}");
    number
}

/// The number of the state that begins with these bytes.
fn beginning(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().expect("no start is empty");
    let number = u64::from_le_bytes(*first);
    assert!(bytes == &state(number)[..START], "this is not the start of one state: {bytes:?}");
    number
}

/// The states of an object that several writers replace.
#[derive(Default)]
struct States {
    next: AtomicU64,
    /// The number of the state of each tag.
    known: Mutex<HashMap<Tag, u64>>,
}

impl States {
    /// Writes another state, unless it is refused.
    async fn write(&self, objects: &Storage, known: Option<&Tag>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = state(number);
        let written = match known {
            Some(known) => objects.put_if_unchanged("key", known, &bytes).await,
            None => objects.put_if_absent("key", &bytes).await,
        };
        if let Written::Done(tag) = written {
            self.check_tag(number, &tag);
        }
    }

    /// Checks that the tag has not belonged to another state.
    fn check_tag(&self, number: u64, tag: &Tag) {
        let mut known = self.known.lock().expect("no other check failed");
        let before = *known.entry(tag.clone()).or_insert(number);
        assert_eq!(before, number, "two states have the tag {tag}");
    }
}
