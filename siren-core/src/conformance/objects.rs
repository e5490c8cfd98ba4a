//! Facts of [`Objects`].
//!
//! Each fact makes few requests, so that the suite can run against a server. The exception is the
//! fact about pages, which needs more keys than fit on one page.

mod at_once;
mod list;
mod read;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

pub use at_once::*;
use futures::future::join_all;
pub use list::*;
pub use read::*;
pub use write::*;

use super::Fact;
use super::drive::{Driven, Driver};
use super::fact::on_threads;
use crate::objects::{Fetched, Listed, Objects, Tag, Written};

type Making = Pin<Box<dyn Future<Output = Box<dyn Objects>>>>;

/// The number of writers or readers in the facts about simultaneous requests.
const WRITERS: usize = 8;

/// The number of attempts to replace an object that has the right tag. Storage may be busy with an
/// earlier write.
const MAX_TRIES: u32 = 100;

/// The constructor of the objects under test, and the options of the suite.
pub struct Subject {
    make: Box<dyn Fn() -> Making + Send + Sync>,
    driver: Driver,
    threads: usize,
    writes: u32,
    slashes_first: bool,
}

impl Subject {
    /// Tests the storage that `make` returns. Each call of `make` must return storage without any
    /// objects.
    pub fn new<O, F>(make: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        O: Objects + 'static,
        F: Future<Output = O> + 'static,
    {
        Self {
            make: Box::new(move || {
                let making = make();
                Box::pin(async move { Box::new(making.await) as Box<dyn Objects> })
            }),
            driver: Driver::default(),
            threads: 4,
            writes: 50,
            slashes_first: false,
        }
    }

    /// Sets the function that blocks on futures. It is called on any thread.
    #[must_use]
    pub fn driven(mut self, run: impl for<'a> Fn(Driven<'a>) + Send + Sync + 'static) -> Self {
        self.driver = Driver::new(run);
        self
    }

    /// Sets the number of threads that make simultaneous requests. The default is 4. Set it to 1
    /// for virtual time, which a single thread must drive: all requests then come from that thread.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, WRITERS);
        self
    }

    /// Sets the number of writes of each simultaneous writer. The default is 50.
    #[must_use]
    pub fn writes(mut self, writes: u32) -> Self {
        self.writes = writes.max(1);
        self
    }

    /// Declares that the storage keeps keys in directories, and therefore lists slashes before all
    /// other bytes. The contract does not allow this order, but the suite then accepts it.
    #[must_use]
    pub fn slashes_first(mut self) -> Self {
        self.slashes_first = true;
        self
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.driver.run(future)
    }

    /// New storage without any objects.
    async fn make(&self) -> Storage {
        Storage((self.make)().await)
    }

    /// Runs `writer` for all writers at once, on several threads with several writers each. Returns
    /// their outputs in any order.
    fn at_once<T: Send, F: Future<Output = T>>(
        &self,
        writer: impl Fn(usize) -> F + Sync,
    ) -> Vec<T> {
        let outputs = Mutex::new(Vec::new());
        on_threads(self.threads, |thread| {
            self.run(async {
                let writers = (thread..WRITERS).step_by(self.threads);
                let done = join_all(writers.map(&writer)).await;
                outputs.lock().expect("no writer panicked").extend(done);
            });
        });
        outputs.into_inner().expect("no writer panicked")
    }
}

/// The objects under test, with requests that must succeed.
struct Storage(Box<dyn Objects>);

impl Storage {
    async fn get(&self, key: &str, known: Option<&Tag>) -> Fetched {
        self.0.get(key, known).await.expect("read an object")
    }

    async fn get_start(&self, key: &str, known: Option<&Tag>, length: u64) -> Fetched {
        self.0.get_start(key, known, length).await.expect("read the start of an object")
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Option<Vec<u8>> {
        self.0.get_range(key, start..end).await.expect("read a range of an object")
    }

    async fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Written {
        self.0.put_if_absent(key, bytes).await.expect("write an object")
    }

    async fn put_if_unchanged(&self, key: &str, known: &Tag, bytes: &[u8]) -> Written {
        self.0.put_if_unchanged(key, known, bytes).await.expect("replace an object")
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Listed {
        self.0.list(prefix, after).await.expect("list objects")
    }

    async fn delete(&self, keys: &[&str]) {
        let keys: Vec<_> = keys.iter().map(|&key| key.to_owned()).collect();
        self.0.delete(&keys).await.expect("delete objects");
    }

    /// Writes an object that does not exist.
    async fn create(&self, key: &str, bytes: &[u8]) -> Tag {
        match self.put_if_absent(key, bytes).await {
            Written::Done(tag) => tag,
            Written::Refused => panic!("{key} does not exist, and its creation is refused"),
        }
    }

    /// Replaces an object that has this tag.
    async fn replace(&self, key: &str, known: &Tag, bytes: &[u8]) -> Tag {
        for _ in 0..MAX_TRIES {
            if let Written::Done(tag) = self.put_if_unchanged(key, known, bytes).await {
                return tag;
            }
        }
        panic!("{key} has the tag {known}, and its replacement is refused");
    }

    /// Reads an object that exists.
    async fn read(&self, key: &str) -> (Vec<u8>, Tag) {
        changed(key, self.get(key, None).await)
    }

    /// Checks that an object has these bytes and this tag.
    async fn expect(&self, key: &str, bytes: &[u8], tag: &Tag) {
        let (found, found_tag) = self.read(key).await;
        assert!(found == bytes, "{key} has other bytes than were written");
        assert_eq!(&found_tag, tag, "the tag of {key}");
    }

    /// Checks that an object does not exist.
    async fn expect_missing(&self, key: &str) {
        assert_eq!(self.get(key, None).await, Fetched::Missing, "{key} does not exist");
    }

    /// Checks the keys in all pages of a listing.
    async fn expect_keys<K: AsRef<str>>(&self, prefix: &str, after: Option<&str>, keys: &[K]) {
        let mut listed: Vec<String> = Vec::new();
        loop {
            let after = listed.last().map(String::as_str).or(after);
            let page = self.list(prefix, after).await;
            assert!(page.keys.len() <= 1_000, "{} keys in one page", page.keys.len());
            listed.extend(page.keys);
            let so_far = &keys[..listed.len().min(keys.len())];
            assert!(
                listed.iter().map(String::as_str).eq(so_far.iter().map(AsRef::as_ref)),
                "keys that begin with {prefix:?}: {:?}, expected {:?}",
                Ends(&listed),
                Ends(so_far),
            );
            let more = listed.len() < keys.len();
            assert_eq!(page.more, more, "more keys after {} of {}", listed.len(), keys.len());
            if !more {
                return;
            }
        }
    }
}

/// Writes the first and the last keys of a long list.
struct Ends<'a, K>(&'a [K]);

impl<K: AsRef<str>> std::fmt::Debug for Ends<'_, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut list = f.debug_list();
        let is_end = |&index: &usize| index < 10 || index + 2 >= self.0.len();
        list.entries((0..self.0.len()).filter(is_end).map(|index| self.0[index].as_ref()));
        list.finish()
    }
}

/// The bytes and the tag of a read, which must have found a changed object.
#[track_caller]
fn changed(key: &str, fetched: Fetched) -> (Vec<u8>, Tag) {
    match fetched {
        Fetched::Changed { bytes, tag } => (bytes, tag),
        other => panic!("{key} is {other:?}, and should have been read"),
    }
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__objects_facts!(__fact_list);

/// Makes a test for each fact of [`Objects`]: `objects_tests!(module_name, subject)`.
///
/// ```text
/// objects_tests!(in_memory, objects::Subject::new(|| async { MyObjects::new() }));
/// ```
#[macro_export]
macro_rules! objects_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__objects_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __objects_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] objects:
            a_missing_object_is_missing
            a_write_is_read
            a_known_object_is_unchanged
            a_start_ends_at_its_length
            a_start_has_the_tag_of_the_object
            a_range_ends_where_the_object_does
            an_empty_object_is_an_object
            a_large_object_is_read_as_it_was_written
            every_key_has_its_own_object

            an_object_is_created_once
            an_object_is_replaced_only_if_unchanged
            other_bytes_have_another_tag
            a_deletion_does_not_bring_tags_back
            deleted_objects_are_gone
            missing_objects_can_be_deleted
            a_cancelled_write_happens_whole_or_not_at_all

            a_listing_sees_every_write
            a_listing_is_in_the_order_of_bytes
            a_listing_has_the_keys_with_the_prefix
            a_listing_starts_after_a_key
            many_keys_are_listed_in_pages

            one_of_many_creations_succeeds
            increments_by_compare_and_swap_are_never_lost
            a_read_among_writes_sees_one_state
        }
    };
}
