"""The words of the operations, as `apply.lua` reads them, beside what the core thinks they weigh."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.core.operations import Add, Drop, HeaderValue, Operation, Put, StagedSession, Stamp, Status, Touch, size
from projector.view.writer import encode
from readmodel.view.arrival_log import pack_txid
from readmodel.view.type_index import pack_entry
from tests.support.viewing import event

SID = "11111111-1111-4111-8111-111111111111"
NUMBERS = st.integers(0, 2**63)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Drop(SID), ["drop", SID, 0]),
        (Touch(SID), ["touch", SID, 0]),
        (Touch(SID, 1500), ["touch", SID, 1, "1500"]),
        (Touch(SID, 0), ["touch", SID, 1, "0"]),
        (Status(SID, "failed"), ["status", SID, 1, "failed"]),
        (Stamp(SID, 3, 2**40, 7, "704:705:704"), ["stamp", SID, 4, "3", str(2**40), "7", "705 704"]),
    ],
)
def test_the_words_of_each_operation(operation: Operation, words: list[str | int]) -> None:
    """Verb, session, how many arguments, arguments."""
    assert encode(operation) == words


def test_a_put_names_its_staging_only_when_there_are_events() -> None:
    """An empty session has no keys to rename."""
    header: dict[str, HeaderValue] = {"status": "pending", "count": 0}

    assert encode(Put(SID, StagedSession("stage:x:", 0, header))) == [
        "put", SID, 7, "", 0, "", "status", "pending", "count", 0,
    ]  # fmt: skip
    assert encode(Put(SID, StagedSession("stage:x:", 2, {}, "700:705:700,703"))) == [
        "put", SID, 3, "stage:x:", 2, "705 700 703",
    ]  # fmt: skip


def test_an_add_has_seven_words_an_event() -> None:
    """Score, member, index entry, hash halves, the type (empty where no poll can name it), and the transaction."""
    known, odd = event(SID, 5), event(SID, -1, "Odd Type")

    assert encode(Add(SID, (known, odd), (703, 2**40), "704:705:704")) == [
        "add", SID, 15, "705 704",
        5, known.member, pack_entry(5, known.id), known.hash_hi, known.hash_lo, "step_created", pack_txid(703),
        -1, odd.member, pack_entry(-1, odd.id), odd.hash_hi, odd.hash_lo, "", pack_txid(2**40),
    ]  # fmt: skip
    assert encode(Add(SID, (known,)))[3:5] == ["", 5]


def test_an_event_of_1970_keeps_its_score() -> None:
    """Zero is a score like others."""
    assert encode(Add(SID, (event(SID, 0),)))[4] == 0


@given(
    operation=st.one_of(
        st.builds(
            lambda kinds: Add(SID, tuple(event(SID, 1, kind) for kind in kinds)),
            st.lists(st.integers(1, 100).map("x".__mul__), max_size=5),
        ),
        st.builds(
            lambda staging, header: Put(SID, StagedSession(staging, 1, header)),
            st.integers(0, 200).map("s".__mul__),
            st.dictionaries(st.text("abc", max_size=100), st.one_of(NUMBERS, st.text("ab", max_size=20)), max_size=20),
        ),
        st.builds(Stamp, st.just(SID), st.integers(0, 2**40), st.integers(0, 2**60), st.integers(0, 2**60)),
        st.builds(Status, st.just(SID), st.text("ab", max_size=20)),
        st.builds(Touch, st.just(SID), st.integers(0, 2**40)),
        st.just(Drop(SID)),
    )
)
def test_the_size_covers_the_words(operation: Operation) -> None:
    """An estimate: never below the arguments that are sent."""
    assert size(operation) >= sum(
        len(str(word)) if isinstance(word, int) else len(word) for word in encode(operation)[3:]
    )
