"""What is done with each session that the index lists when a term begins."""

from dataclasses import replace

import pytest

from projector.core.comparison import EVENTS_PER_QUERY, Truth, affordable, judge
from projector.core.operations import Drop, Stamp, Status
from readmodel.values.event import ENCODING_VERSION
from readmodel.view.header import Header, read_header

HEADER = Header(
    session_id="a",
    term="old",
    version=ENCODING_VERSION,
    status="in_progress",
    count=3,
    hi=10,
    lo=20,
    held=3,
    bytes=900,
    floor=None,
    newest=5,
    complete=True,
)
TRUTH = Truth("in_progress", 3, 10, 20)
OF_ANOTHER_VERSION = [b"t", b"0", b"completed", b"3", b"10", b"20", b"3", b"1", None, b"5", None]


def test_an_equal_session_is_stamped() -> None:
    """With the very numbers that were compared: the script checks them again."""
    compared = judge({"a": HEADER}, {"a": TRUTH})

    assert (compared.operations, compared.to_load) == ({"a": [Stamp("a", 3, 10, 20)]}, [])


def test_a_changed_status_is_noted_without_a_load() -> None:
    """The events are right, the row is newer."""
    compared = judge({"a": HEADER}, {"a": replace(TRUTH, status="failed")})

    assert (compared.operations, compared.to_load) == ({"a": [Stamp("a", 3, 10, 20), Status("a", "failed")]}, [])


@pytest.mark.parametrize(
    "truth", [replace(TRUTH, count=4), replace(TRUTH, hi=11), replace(TRUTH, lo=19)], ids=["count", "hi", "lo"]
)
def test_a_different_session_is_dropped_and_loaded(truth: Truth) -> None:
    """An event more, or another one in place of it."""
    compared = judge({"a": HEADER}, {"a": truth})

    assert (compared.operations, compared.to_load) == ({"a": [Drop("a")]}, ["a"])


@pytest.mark.parametrize(
    "header", [None, replace(HEADER, complete=False), read_header("a", OF_ANOTHER_VERSION, 3, b"3")]
)
def test_a_damaged_view_is_dropped_and_loaded(header: Header | None) -> None:
    """No header, sets of another size, another encoding: the numbers may agree, the view is not what it says."""
    compared = judge({"a": header}, {"a": TRUTH})

    assert (compared.operations, compared.to_load) == ({"a": [Drop("a")]}, ["a"])


def test_a_session_that_is_gone_is_dropped_only() -> None:
    """Purged while nobody listened."""
    compared = judge({"a": HEADER}, {})

    assert (compared.operations, compared.to_load) == ({"a": [Drop("a")]}, [])


def test_every_listed_session_gets_an_operation() -> None:
    """The index may err; whatever it lists is decided."""
    compared = judge({"a": HEADER, "b": None, "c": HEADER, "d": HEADER}, {"a": TRUTH, "b": TRUTH, "d": TRUTH})

    assert list(compared.operations) == ["a", "b", "c", "d"]
    assert list(compared.equal) == ["a", "d"]
    assert compared.to_load == ["b"]


def test_a_trimmed_session_can_be_equal() -> None:
    """What counts is the total, not what is held."""
    assert replace(HEADER, held=1, floor=4).holds(TRUTH)


def test_a_query_counts_so_many_events_at_most() -> None:
    """By the headers: many small sessions share a query, a larger one has its own, and none is lost."""
    sizes = {"a": EVENTS_PER_QUERY - 1, "b": 1, "c": 1, "d": 3 * EVENTS_PER_QUERY, "e": EVENTS_PER_QUERY}
    headers = [replace(HEADER, session_id=sid, count=count) for sid, count in sizes.items()]

    parts = list(affordable([*sizes, "gone"], [*headers, None]))

    assert [list(part) for part in parts] == [["a", "b"], ["c"], ["d"], ["e", "gone"]]
    assert {sid: header for part in parts for sid, header in part.items()} == {
        **dict(zip(sizes, headers, strict=True)),
        "gone": None,
    }


def test_each_session_has_its_header() -> None:
    """One too few would shift all that follow."""
    with pytest.raises(ValueError, match="shorter"):
        list(affordable(["a", "b"], [HEADER]))
