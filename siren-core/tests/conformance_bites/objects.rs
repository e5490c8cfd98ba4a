//! Correct objects, and wrong ones.

mod reference;

use reference::Reference;
use siren_core::conformance::objects::{self, Subject};
use siren_core::conformance::objects_tests;
use siren_core::objects::{Objects, ObjectsDecorator};

use super::bite::faults;

objects_tests!(reference_objects, Subject::new(|| async { Reference::new() }));

/// A wrapper that changes nothing.
struct Wrapped(Reference);

impl ObjectsDecorator for Wrapped {
    fn inner(&self) -> &dyn Objects {
        &self.0
    }
}

objects_tests!(decorated_objects, Subject::new(|| async { Wrapped(Reference::new()) }));

/// The fault of the objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    AfterIsIncluded,
    AfterMustExist,
    AnyTagReplaces,
    CreatesAfterAWait,
    CreatesAgain,
    CutsAMegabyte,
    DeletesOnlyTheFirst,
    DeletesWhatBeginsAlike,
    DeletionFailsForMissing,
    DeletesNothing,
    EmptyIsMissing,
    EmptyRangeFails,
    KeysIgnoreCase,
    KeysIgnoreSlashes,
    KnownIsIgnored,
    KnownIsTrusted,
    ListsByLength,
    ListsDirectoriesFirst,
    ListsDeleted,
    ListsLate,
    ListsOnePage,
    ListsTooMany,
    MissingIsEmpty,
    MoreAfterAFullPage,
    PrefixIsADirectory,
    RangeHasItsEnd,
    RangeMustFit,
    ReadsLate,
    ReadsTwice,
    RefusedIsWritten,
    ReplacesAfterAWait,
    ReplacesMissing,
    StartHasItsOwnTag,
    StartIgnoresKnown,
    StartIsWhole,
    TagIsLength,
    TagsStartAgain,
    WritesInTwoParts,
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(move || async move { Reference::with_fault(fault) })
}

faults! { every objects::FACTS, with_fault;
    missing_objects_that_are_empty: MissingIsEmpty =>
        a_missing_object_is_missing deleted_objects_are_gone;
    reads_that_are_one_write_late: ReadsLate => a_write_is_read;
    reads_that_ignore_the_known_tag: KnownIsIgnored => a_known_object_is_unchanged;
    reads_that_take_any_tag_for_the_current_one: KnownIsTrusted =>
        a_known_object_is_unchanged a_deletion_does_not_bring_tags_back;
    starts_that_ignore_the_known_tag: StartIgnoresKnown => a_known_object_is_unchanged;
    starts_of_any_length: StartIsWhole => a_start_ends_at_its_length;
    starts_with_another_tag: StartHasItsOwnTag => a_start_has_the_tag_of_the_object;
    ranges_that_include_their_end: RangeHasItsEnd => a_range_ends_where_the_object_does;
    ranges_that_must_fit: RangeMustFit => a_range_ends_where_the_object_does;
    empty_ranges_that_fail: EmptyRangeFails => a_range_ends_where_the_object_does;
    empty_objects_that_are_missing: EmptyIsMissing => an_empty_object_is_an_object;
    objects_of_a_megabyte_at_most: CutsAMegabyte => a_large_object_is_read_as_it_was_written;
    keys_without_case: KeysIgnoreCase => every_key_has_its_own_object;
    keys_without_slashes: KeysIgnoreSlashes => every_key_has_its_own_object;

    creations_of_what_exists: CreatesAgain => an_object_is_created_once;
    refused_writes_that_happen: RefusedIsWritten =>
        an_object_is_created_once an_object_is_replaced_only_if_unchanged;
    replacements_with_any_tag: AnyTagReplaces =>
        an_object_is_replaced_only_if_unchanged increments_by_compare_and_swap_are_never_lost;
    replacements_of_missing_objects: ReplacesMissing => an_object_is_replaced_only_if_unchanged;
    tags_that_are_lengths: TagIsLength =>
        other_bytes_have_another_tag a_deletion_does_not_bring_tags_back
        a_read_among_writes_sees_one_state;
    tags_that_start_again: TagsStartAgain => a_deletion_does_not_bring_tags_back;
    deletions_of_one_object_at_most: DeletesOnlyTheFirst =>
        deleted_objects_are_gone many_keys_are_listed_in_pages;
    deletions_of_what_begins_alike: DeletesWhatBeginsAlike => deleted_objects_are_gone;
    deletions_that_listings_do_not_see: ListsDeleted =>
        deleted_objects_are_gone a_listing_sees_every_write;
    deletions_that_do_nothing: DeletesNothing => deleted_objects_are_gone;
    deletions_that_fail_for_missing_objects: DeletionFailsForMissing =>
        missing_objects_can_be_deleted;
    writes_in_two_parts: WritesInTwoParts =>
        a_cancelled_write_happens_whole_or_not_at_all a_read_among_writes_sees_one_state;

    listings_that_are_one_write_late: ListsLate => a_listing_sees_every_write;
    listings_with_short_keys_first: ListsByLength => a_listing_is_in_the_order_of_bytes;
    listings_with_directories_first: ListsDirectoriesFirst =>
        a_listing_is_in_the_order_of_bytes;
    prefixes_that_are_directories: PrefixIsADirectory => a_listing_has_the_keys_with_the_prefix;
    listings_from_a_key_on: AfterIsIncluded =>
        a_listing_starts_after_a_key many_keys_are_listed_in_pages;
    listings_after_existing_keys_only: AfterMustExist => a_listing_starts_after_a_key;
    listings_of_one_page: ListsOnePage => many_keys_are_listed_in_pages;
    pages_of_any_length: ListsTooMany => many_keys_are_listed_in_pages;
    more_after_every_full_page: MoreAfterAFullPage => many_keys_are_listed_in_pages;

    creations_that_look_before_they_wait: CreatesAfterAWait => one_of_many_creations_succeeds;
    replacements_that_look_before_they_wait: ReplacesAfterAWait =>
        increments_by_compare_and_swap_are_never_lost;
    reads_in_two_parts: ReadsTwice => a_read_among_writes_sees_one_state;
}
