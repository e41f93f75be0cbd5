"""The slices of a view: which session is in which, and how their tags lie on the hash slots."""

from uuid import UUID

import pytest

from readmodel.view.keys import Keys, other_slices
from readmodel.view.slices import MAX_SLICES, SLOTS, Slices, slot_of, tags


@pytest.mark.parametrize(("name", "slot"), [("123456789", 12739), ("foo", 12182), ("0", 13907)])
def test_slots_are_those_of_a_cluster(name: str, slot: int) -> None:
    """The first is the specification's own example (0x31C3); the others are what `CLUSTER KEYSLOT` says."""
    assert slot_of(name) == slot


@pytest.mark.parametrize("masters", [1, 2, 3, 4, 5, 6, 7, 10, 16, 32])
def test_masters_with_equal_ranges_have_as_many_slices(masters: int) -> None:
    """One more or less."""
    owners = [slot_of(tag) * masters // SLOTS for tag in tags(32)]
    counts = [owners.count(master) for master in range(masters)]

    assert max(counts) - min(counts) <= 2
    assert min(counts) >= 32 // masters - 1


@pytest.mark.parametrize("count", [1, 2, 3, 32, 100, MAX_SLICES])
def test_tags_are_distinct_and_begin_with_that_of_one_slice(count: int) -> None:
    """So the first slice is where a view of one slice is."""
    found = tags(count)

    assert (found[0], len(found), len(set(found)), len(set(map(slot_of, found)))) == ("0", count, count, count)


def test_tags_of_half_as_many_slices_are_among_them() -> None:
    """Twice as many slices leave half of them where they were."""
    assert set(tags(16)) < set(tags(32))


def test_ids_that_count_up_spread_evenly() -> None:
    """An id need not be random."""
    slices = Slices("p", count=32)
    found = [slices.index_of(str(UUID(int=number))) for number in range(32_000)]
    counts = [found.count(index) for index in range(32)]

    assert min(counts) > 900
    assert max(counts) < 1_100


def test_one_slice_has_the_names_that_a_view_had() -> None:
    """Nothing is moved by an upgrade."""
    (keys,) = Slices("p", 3).keys

    assert keys == Keys("p", 3)
    assert (keys.base, keys.version, keys.changes) == ("p:{0}:", "4", "p:{0}:changes:3")


def test_channels_name_the_number_of_slices() -> None:
    """Who knows one slice must not hear the first of several: it would miss what the others are told."""
    several, one = Slices("p", count=2).keys[0], Slices("p").keys[0]

    assert several.base == one.base
    assert {several.changes, several.requests, several.replies("r")}.isdisjoint(
        {one.changes, one.requests, one.replies("r")}
    )


def test_the_version_names_the_number_of_slices() -> None:
    """And the sentence says both numbers."""
    assert Slices("p", count=32).keys[5].version == "4/32"
    assert other_slices("4/32", "4/32") is None
    assert other_slices("4/32", "4") == "the view has 32, and this process is set to 1"


def test_reports_lie_on_three_slices_far_apart() -> None:
    """So that one master that is away hides none."""
    assert [Slices("p", count=count).reporting for count in (1, 2, 3, 32)] == [(0,), (0, 1), (0, 1, 2), (0, 10, 21)]
