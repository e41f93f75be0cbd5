"""The operations of a batch: their words, their size, and how they are cut into calls."""

from hypothesis import given
from hypothesis import strategies as st

from projector.core.operations import (
    MAX_BATCH_BYTES,
    MAX_NAMED,
    Operation,
    StagedSession,
    add,
    drop,
    put,
    split,
    stamp,
    status,
    touch,
)
from readmodel.type_index import pack_entry
from tests.support.viewing import event

SID = "11111111-1111-4111-8111-111111111111"
OPERATIONS = st.dictionaries(
    st.integers(0, 10_000).map(str),
    st.lists(st.integers(0, 700_000).map(lambda size: Operation("add", "s", (b"x" * size,))), min_size=1, max_size=3),
    max_size=12,
)


def test_the_words_of_each_operation() -> None:
    """Verb, session, how many arguments, arguments: as apply.lua reads them."""
    assert drop(SID).flat() == ["drop", SID, 0]
    assert touch(SID).flat() == ["touch", SID, 0]
    assert touch(SID, 1500).flat() == ["touch", SID, 1, "1500"]
    assert status(SID, "failed").flat() == ["status", SID, 1, "failed"]
    assert stamp(SID, 3, 2**40, 7).flat() == ["stamp", SID, 3, "3", str(2**40), "7"]


def test_a_put_names_its_staging_only_when_there_are_events() -> None:
    """An empty session has no keys to rename."""
    header: dict[str, str | bytes | int] = {"status": "pending", "count": 0}

    assert put(SID, StagedSession("stage:x:", 0, header)).flat() == [
        "put",
        SID,
        6,
        "",
        0,
        "status",
        "pending",
        "count",
        0,
    ]
    assert put(SID, StagedSession("stage:x:", 2, {})).flat() == ["put", SID, 2, "stage:x:", 2]


def test_an_add_has_six_words_an_event() -> None:
    """Score, member, index entry, hash halves, and the type: empty where no poll can name it."""
    known, odd = event(SID, 5), event(SID, -1, "Odd Type")
    operation = add(SID, [known, odd])

    assert operation.arguments == (
        5, known.member, pack_entry(5, known.id), known.hash_hi, known.hash_lo, "step_created",
        -1, odd.member, pack_entry(-1, odd.id), odd.hash_hi, odd.hash_lo, "",
    )  # fmt: skip


def test_an_event_of_1970_keeps_its_score() -> None:
    """Zero is a score like others."""
    assert add(SID, [event(SID, 0)]).arguments[0] == 0


def test_nothing_is_one_empty_part() -> None:
    """A beat alone still needs a batch to travel in."""
    assert list(split({})) == [{}]


@given(operations=OPERATIONS)
def test_parts_are_small_and_sessions_stay_whole(operations: dict[str, list[Operation]]) -> None:
    """In order, nothing lost, no session cut; only one session alone may be over the size."""
    parts = list(split(operations))

    assert [pair for part in parts for pair in part.items()] == list(operations.items())
    for part in parts:
        size = sum(operation.size() for wanted in part.values() for operation in wanted)
        assert size <= MAX_BATCH_BYTES or len(part) == 1
        assert part or parts == [{}]


def test_a_part_names_no_more_than_a_message_can() -> None:
    """Past the bound the message would say: every session."""
    parts = list(split({str(number): [drop(str(number))] for number in range(2 * MAX_NAMED + 1)}))

    assert [len(part) for part in parts] == [MAX_NAMED, MAX_NAMED, 1]


@given(words=st.lists(st.one_of(st.text(alphabet="ab"), st.binary(), st.integers(-(2**62), 2**62)), max_size=8))
def test_the_size_covers_the_words(words: list[str | bytes | int]) -> None:
    """An estimate: never below the strings that are sent."""
    operation = Operation("add", SID, tuple(words))

    assert operation.size() >= sum(len(word) for word in words if not isinstance(word, int))
