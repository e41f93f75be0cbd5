"""The rules of memory hold for each slice by itself: what is heard of one tells nothing of another's sessions."""

import pytest

from query_api.memory.answers import AsOf, Number
from query_api.memory.response_cache import ENTRY_OVERHEAD_BYTES, ResponseCache
from readmodel.values.messages import EVERY_SESSION, Change
from readmodel.values.wal import WalPosition
from readmodel.view.slices import Slices
from tests.support.slicing import session_in
from tests.unit.query_api.test_response_cache import FOREVER, answer, change, holds

SLICES = Slices("readside", count=3)
A, B, C = (session_in(SLICES, index) for index in range(3))
ANOTHER_A = session_in(SLICES, 0, place=1)


def keep(cache: ResponseCache, session_id: str, number: Number | None, as_of_us: int = 1) -> bool:
    """Store an answer under its session's id."""
    return cache.store(session_id, answer(session_id), AsOf(as_of_us, 0.0), number)


def number_of(index: int, n: int = 1) -> Number:
    """A number of a slice's term."""
    return Number(f"term {index}", n)


def said(index: int, n: int, *sessions: str, as_of_us: int | None = None) -> Change:
    """A message of a slice's term."""
    return change(n, *sessions, as_of_us=as_of_us, term=f"term {index}")


@pytest.fixture
def cache() -> ResponseCache:
    """One that has heard the first message of each slice, and holds an answer of each."""
    made = ResponseCache(1_000_000, SLICES)
    for index, session_id in enumerate((A, B, C)):
        made.hear(said(index, 1), 100.0, index)
        assert keep(made, session_id, number_of(index))
    return made


def held(cache: ResponseCache) -> list[bool]:
    """Whether the answer of each slice is there."""
    return [holds(cache, session_id) for session_id in (A, B, C)]


@pytest.mark.parametrize(
    "broken",
    [said(1, 3), said(1, 1), change(2, term="next"), said(1, 2, EVERY_SESSION)],
    ids=["a gap", "a number again", "a new term", "every session"],
)
def test_a_break_empties_its_own_slice_alone(cache: ResponseCache, broken: Change) -> None:
    """What was missed can have named sessions of that slice only."""
    cache.hear(broken, 101.0, 1)

    assert held(cache) == [True, False, True]
    assert (len(cache), cache.bytes) == (2, 2 * (ENTRY_OVERHEAD_BYTES + len(A) + 2))
    assert not keep(cache, B, number_of(1, 0))
    assert keep(cache, ANOTHER_A, number_of(0))


def test_another_databases_message_ends_its_own_slice_alone(cache: ResponseCache) -> None:
    """Its projector has taken over that slice; each of the others says for itself."""
    cache = ResponseCache(1_000_000, SLICES)
    cache.belong_to("ours")
    for index, session_id in enumerate((A, B, C)):
        cache.hear(Change("t", 1, 5, 0, (), database="ours"), 100.0, index)
        assert keep(cache, session_id, Number("t", 1, "ours"))
    cache.hear(Change("t", 2, 6, 0, (), database="theirs"), 101.0, 2)

    assert held(cache) == [True, True, False]
    assert (cache.number_of(C), cache.beats[2]) == (None, None)


def test_another_database_of_our_own_empties_all(cache: ResponseCache) -> None:
    """READSIDE_DATABASE_URL leads elsewhere now: no slice is of it."""
    cache.belong_to("another")

    assert held(cache) == [False, False, False]
    assert cache.beats == [None, None, None]


def test_a_beat_raises_the_as_of_of_its_own_slice_alone(cache: ResponseCache) -> None:
    """It says nothing of what another's letters brought."""
    cache.hear(said(1, 2, as_of_us=50), 101.0, 1)

    assert [cache.get(session_id, 200.0, FOREVER) for session_id in (A, B, C)] == [
        (answer(A), AsOf(1, 0.0)),
        (answer(B), AsOf(50, 101.0)),
        (answer(C), AsOf(1, 0.0)),
    ]


def test_a_slice_whose_beats_stop_grows_old_alone(cache: ResponseCache) -> None:
    """Memory steps aside for its sessions, and answers the others'."""
    for index in (0, 2):
        cache.hear(said(index, 2, as_of_us=50), 200.0, index)

    assert [cache.get(session_id, 201.0, 5.0) is not None for session_id in (A, B, C)] == [True, False, True]


def test_numbers_count_in_each_slice(cache: ResponseCache) -> None:
    """One that has had many batches breaks no other."""
    for n in range(2, 9):
        cache.hear(said(0, n, as_of_us=n), 101.0, 0)

    assert cache.breaks == 3  # the first messages
    assert [cache.number_of(session_id) for session_id in (A, B, C)] == [number_of(0, 8), number_of(1), number_of(2)]


def test_an_answer_is_held_against_the_drops_of_its_own_slice(cache: ResponseCache) -> None:
    """Another's higher numbers are no bound, and its term is no excuse."""
    cache.hear(said(0, 2), 101.0, 0)
    cache.hear(said(0, 3, A), 101.0, 0)
    cache.hear(said(1, 2, B), 101.0, 1)

    assert [keep(cache, A, number_of(0, n)) for n in (2, 3)] == [False, True]
    assert [keep(cache, B, number_of(1, n)) for n in (1, 2)] == [False, True]
    assert not keep(cache, B, number_of(0, 3))


def test_nothing_is_stored_of_a_slice_that_was_not_heard() -> None:
    """However well the others are heard."""
    cache = ResponseCache(1_000_000, SLICES)
    cache.hear(said(0, 1, as_of_us=7), 100.0, 0)

    assert [keep(cache, A, number_of(0)), keep(cache, B, number_of(1)), keep(cache, B, number_of(0))] == [
        True,
        False,
        False,
    ]


def test_a_message_that_names_a_session_of_another_slice_drops_nothing_of_it(cache: ResponseCache) -> None:
    """Its number is none of that slice's: nothing could be told from it."""
    cache.hear(said(0, 2, B), 101.0, 0)

    assert held(cache) == [True, True, True]
    assert keep(cache, B, number_of(1))


def test_the_oldest_beat_is_the_views(cache: ResponseCache) -> None:
    """A slice that was not heard yet has none, and is no younger for that."""
    for index, as_of_us in ((2, 40), (0, 30)):
        cache.hear(said(index, 2, as_of_us=as_of_us), 101.0, index)

    assert cache.beat == AsOf(30, 101.0)
    assert [beat and beat.as_of_us for beat in cache.beats] == [30, None, 40]


def test_the_slices_share_the_memory() -> None:
    """The least recently used leaves first, whichever slice it is of."""
    cache = ResponseCache(2 * (ENTRY_OVERHEAD_BYTES + len(A) + 2), SLICES)
    for index, session_id in enumerate((A, B, C)):
        cache.hear(said(index, 1), 100.0, index)
        assert keep(cache, session_id, number_of(index))

    assert (held(cache), cache.evictions) == ([False, True, True], 1)
    cache.hear(said(0, 3), 101.0, 0)
    assert (len(cache), held(cache)) == (2, [False, True, True])


def test_each_slice_remembers_its_share_of_the_drops() -> None:
    """One in which much happens makes no other forget."""
    cache = ResponseCache(1_000_000, SLICES, max_dropped=6)
    for index, session_id in enumerate((A, B, C)):
        cache.hear(said(index, 1, session_id), 100.0, index)
    for n in range(2, 9):
        cache.hear(said(0, n, f"another {n}"), 101.0, 0)

    assert not keep(cache, ANOTHER_A, number_of(0, 5))
    assert keep(cache, session_in(SLICES, 1, place=1), number_of(1))


def proven(index: int, n: int, lsn: int) -> Change:
    """A beat of a slice that says how far the log had come, as of as many microseconds."""
    return Change(f"term {index}", n, lsn, 0, (), wal=WalPosition(1, lsn))


def test_a_standby_is_held_against_the_beats_of_the_sessions_own_slice(cache: ResponseCache) -> None:
    """Its answer is kept: it has the number of that slice's message."""
    cache.hear(proven(0, 2, 900), 101.0, 0)
    cache.hear(proven(1, 2, 900), 101.1, 1)
    proof = cache.passed(A, 900)

    assert proof is not None
    assert (proof.term, proof.n) == ("term 0", 2)
    assert keep(cache, A, Number(proof.term, proof.n), proof.as_of_us)


@pytest.mark.parametrize("heard", [0, 1], ids=["never heard", "heard once"])
def test_a_standby_answers_for_a_slice_that_is_away_as_of_anothers_beat(cache: ResponseCache, heard: int) -> None:
    """A beat holds for the whole database. What such an answer lacks no message told: it is not kept."""
    for n in range(heard):
        cache.hear(proven(1, 2 + n, 700), 101.0, 1)
    cache.hear(proven(0, 2, 900), 106.0, 0)
    proof = cache.passed(B, 1_000)

    assert proof is not None
    assert (proof.as_of_us, proof.since) == (900, 106.0)
    assert not keep(cache, B, Number(proof.term, proof.n), proof.as_of_us)
    assert cache.passed(B, 600) is None
