"""The operations of a batch: which of them change something, and how they are cut into calls."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from projector.core.operations import (
    MAX_BATCH_BYTES,
    MAX_NAMED,
    Add,
    Drop,
    Operation,
    Operations,
    Put,
    StagedSession,
    Stamp,
    Status,
    Touch,
    changes,
    cut,
    size,
)
from readmodel.values.event import EventRow


def adding(length: int) -> Add:
    """An operation with an event whose JSON is so long."""
    return Add("s", (EventRow("s", bytes(16), 1, "x", 0, 0, b"x" * length),))


OPERATIONS = st.dictionaries(
    st.integers(0, 10_000).map(str),
    st.lists(st.integers(0, 700_000).map(adding), min_size=1, max_size=3),
    max_size=12,
)


def test_nothing_is_one_empty_part() -> None:
    """A beat alone still needs a batch to travel in."""
    assert list(cut({})) == [{}]


@given(operations=OPERATIONS)
def test_parts_are_small_and_sessions_stay_whole(operations: Operations) -> None:
    """In order, nothing lost, no session cut; only one session alone may be over the size."""
    parts = list(cut(operations))

    assert [pair for part in parts for pair in part.items()] == list(operations.items())
    for part in parts:
        length = sum(size(operation) for wanted in part.values() for operation in wanted)
        assert length <= MAX_BATCH_BYTES or len(part) == 1
        assert part or parts == [{}]


@given(operations=OPERATIONS)
def test_a_part_is_ended_only_by_what_does_not_fit(operations: Operations) -> None:
    """Each call has its price: what fits travels together."""
    parts = list(cut(operations))
    for part, following in pairwise(parts):
        lengths = [sum(map(size, wanted)) for wanted in part.values()]
        more = sum(map(size, next(iter(following.values()))))

        assert sum(lengths) + more > MAX_BATCH_BYTES


def test_what_fills_a_part_exactly_still_fits() -> None:
    """The bound itself is allowed."""
    one = size(adding(0))
    operations: Operations = {"a": [adding(MAX_BATCH_BYTES - 2 * one)], "b": [adding(0)]}
    assert sum(size(operation) for wanted in operations.values() for operation in wanted) == MAX_BATCH_BYTES

    again: Operations = {"c": operations["a"], "d": operations["b"]}

    assert list(cut(operations)) == [operations]
    assert list(cut({**operations, **again})) == [operations, again]


def test_a_part_names_no_more_than_a_message_can() -> None:
    """Past the bound the message would say: every session."""
    parts = list(cut({str(number): [Drop(str(number))] for number in range(2 * MAX_NAMED + 1)}))

    assert [len(part) for part in parts] == [MAX_NAMED, MAX_NAMED, 1]


def test_all_but_a_touch_changes_the_view() -> None:
    """Answers in memory outlive a touch, and nothing else."""
    others: list[Operation] = [
        Drop("a"),
        Stamp("a", 0, 0, 0),
        Status("a", "failed"),
        Put("a", StagedSession("s", 0)),
        Add("a", ()),
    ]

    assert all(changes([other]) and changes([Touch("a"), other]) for other in others)
    assert not changes([])
    assert not changes([Touch("a"), Touch("a", 5)])
