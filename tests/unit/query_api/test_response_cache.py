"""The rules by which answers are kept in memory, each by its name."""

from itertools import pairwise

from query_api.memory.answers import Answer, AsOf, Number, found, missing
from query_api.memory.newest import Newest, newest_key
from query_api.memory.response_cache import ENTRY_OVERHEAD_BYTES, MAX_PROOFS, PROOF_SECONDS, ResponseCache
from readmodel.values.messages import EVERY_SESSION, Change
from readmodel.values.wal import Proof, WalPosition

A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")
FOREVER = 1e9


def change(n: int, *sessions: str, as_of_us: int | None = None, term: str = "t", round_trip_us: int = 0) -> Change:
    """A message."""
    return Change(term, n, as_of_us, round_trip_us, sessions)


def answer(session_id: str, body: bytes = b"{}") -> Answer:
    """A 200."""
    return found(session_id, body, terminal=False)


def heard(*changes: Change, cache: ResponseCache | None = None) -> ResponseCache:
    """A cache that has heard these, one a second from 100."""
    cache = ResponseCache(1_000_000) if cache is None else cache
    for second, one in enumerate(changes, start=100):
        cache.hear(one, float(second))
    return cache


def keep(cache: ResponseCache, session_id: str, n: int, *, as_of_us: int = 1, term: str = "t", key: str = "") -> bool:
    """Store an answer under its session's id, or `key`."""
    return cache.store(key or session_id, answer(session_id), AsOf(as_of_us, 0.0), Number(term, n))


def holds(cache: ResponseCache, key: str) -> bool:
    """Whether a patient caller gets an answer."""
    return cache.get(key, 200.0, FOREVER) is not None


def test_nothing_is_stored_before_the_first_message() -> None:
    """Without a message nobody would tell when the answer changes."""
    cache = ResponseCache(1_000_000)

    assert not keep(cache, A, 1)


def test_an_answer_without_a_number_is_not_stored() -> None:
    """One of the previous term is right as of then and must not be kept."""
    cache = heard(change(1))

    assert not cache.store(A, answer(A), AsOf(1, 0.0), None)


def test_an_answer_is_found_again() -> None:
    """The point of it all."""
    cache = heard(change(1))
    keep(cache, A, 1)

    kept = cache.get(A, 200.0, FOREVER)

    assert kept == (answer(A), AsOf(1, 0.0))


def test_an_answer_of_another_term_is_not_stored() -> None:
    """Numbers of two terms cannot be compared."""
    cache = heard(change(1))

    assert not keep(cache, A, 9, term="other")


def test_a_message_drops_the_answers_of_the_sessions_it_names() -> None:
    """Every query's answer, and no other session's."""
    cache = heard(change(1))
    keep(cache, A, 1, key="a?limit=1")
    keep(cache, A, 1, key="a?limit=2")
    keep(cache, B, 1)

    cache.hear(change(2, A), 101.0)

    assert [holds(cache, key) for key in ("a?limit=1", "a?limit=2", B)] == [False, False, True]


def test_a_message_that_names_every_session_drops_all_answers() -> None:
    """A batch of more sessions than a message names."""
    cache = heard(change(1))
    keep(cache, A, 1)

    cache.hear(change(2, EVERY_SESSION), 101.0)

    assert not holds(cache, A)
    assert not keep(cache, B, 1)
    assert keep(cache, B, 2)


def test_an_answer_from_before_the_last_drop_of_its_session_is_not_stored() -> None:
    """It was read before the batch that changed the session."""
    cache = heard(change(1), change(2, A))

    assert not keep(cache, A, 1)
    assert keep(cache, A, 2)
    assert keep(cache, B, 1)


def test_an_answer_from_ahead_of_the_messages_is_stored() -> None:
    """Redis' own number may be later than the last message that has arrived."""
    cache = heard(change(1))

    assert keep(cache, A, 7)


def test_a_message_with_an_as_of_raises_that_of_the_answers_it_leaves() -> None:
    """The beat proves that nothing happened to them."""
    cache = heard(change(1))
    keep(cache, A, 1, as_of_us=10)

    cache.hear(change(2, B, as_of_us=20, round_trip_us=500_000), 101.0)

    assert cache.get(A, 200.0, FOREVER) == (answer(A), AsOf(20, 100.5))


def test_an_answer_keeps_an_as_of_later_than_the_beats() -> None:
    """Postgres' answers are as of their query, after the last beat."""
    cache = heard(change(1, as_of_us=10))

    keep(cache, A, 1, as_of_us=11)

    assert cache.get(A, 200.0, FOREVER) == (answer(A), AsOf(11, 0.0))


def test_an_older_as_of_does_not_lower_the_beats() -> None:
    """An as-of only rises within an unbroken stretch."""
    cache = heard(change(1, as_of_us=20), change(2, as_of_us=10))

    assert cache.beat == AsOf(20, 100.0)


def test_a_gap_in_the_numbers_empties_the_cache() -> None:
    """The message that is missing may have named any session."""
    cache = heard(change(1))
    keep(cache, A, 1)

    cache.hear(change(3), 101.0)

    assert not holds(cache, A)
    assert (len(cache), cache.bytes) == (0, 0)


def test_a_repeated_number_empties_the_cache() -> None:
    """A view put back to an older state counts on from there."""
    cache = heard(change(1), change(2))
    keep(cache, A, 2)

    cache.hear(change(2), 102.0)

    assert not holds(cache, A)


def test_a_new_term_empties_the_cache() -> None:
    """All that was known is in doubt."""
    cache = heard(change(5))
    keep(cache, A, 5)

    cache.hear(change(6, term="next"), 101.0)

    assert not holds(cache, A)


def test_an_answer_from_before_the_last_emptying_is_not_stored() -> None:
    """It may lack what the missed message said."""
    cache = heard(change(1), change(5))

    assert not keep(cache, A, 4)
    assert keep(cache, A, 5)


def test_a_break_forgets_the_beat() -> None:
    """A view put back to an older state holds less than the beat before promised."""
    cache = heard(change(1, as_of_us=20), change(3))

    keep(cache, A, 3, as_of_us=10)

    assert cache.get(A, 200.0, FOREVER) == (answer(A), AsOf(10, 0.0))


def test_a_break_that_bears_an_as_of_starts_from_it() -> None:
    """The first message of the new stretch may be a beat."""
    cache = heard(change(1, as_of_us=20), change(3, as_of_us=15))

    assert cache.beat == AsOf(15, 101.0)


def test_the_numbers_are_those_of_the_last_message() -> None:
    """An answer of Postgres takes them before its query is sent."""
    assert ResponseCache(1).number_of(A) is None
    assert heard(change(1), change(2)).number_of(A) == Number("t", 2)


def test_an_answer_staler_than_wanted_is_not_given() -> None:
    """When beats stop the cache steps aside; it comes back with them."""
    cache = heard(change(1, as_of_us=10))
    keep(cache, A, 1)

    assert cache.get(A, 104.9, 5.0)
    assert cache.get(A, 105.0, 5.0) is None
    cache.hear(change(2, as_of_us=20), 106.0)
    assert cache.get(A, 107.0, 5.0)


def test_staleness_zero_is_never_answered() -> None:
    """Not even within the clock's resolution."""
    cache = heard(change(1, as_of_us=10))
    cache.store(A, answer(A), AsOf(11, 100.0), Number("t", 1))

    assert cache.get(A, 100.0, 0.0) is None


def test_a_404_is_an_answer_like_others() -> None:
    """Dropped when its session is named, raised by beats."""
    cache = heard(change(1))
    cache.store(A, missing(A), AsOf(1, 0.0), Number("t", 1))
    cache.hear(change(2, as_of_us=30), 101.0)

    kept = cache.get(A, 200.0, FOREVER)

    assert kept is not None
    assert (kept[0].status, kept[1]) == (404, AsOf(30, 101.0))
    cache.hear(change(3, A), 102.0)
    assert not holds(cache, A)


def test_the_least_recently_used_leave_first() -> None:
    """The bound is in bytes, overhead included."""
    size = ENTRY_OVERHEAD_BYTES + len(A) + 2
    cache = heard(change(1), cache=ResponseCache(2 * size))
    keep(cache, A, 1)
    keep(cache, B, 1)
    holds(cache, A)

    keep(cache, C, 1)

    assert [holds(cache, key) for key in (A, B, C)] == [True, False, True]
    assert cache.bytes == 2 * size


def test_an_answer_longer_than_the_bound_is_not_stored() -> None:
    """It would throw everything else out, and then itself."""
    cache = heard(change(1), cache=ResponseCache(10_000))
    keep(cache, A, 1)

    assert not cache.store(B, answer(B, b"x" * 10_000), AsOf(1, 0.0), Number("t", 1))
    assert holds(cache, A)


def test_a_bound_of_zero_keeps_nothing() -> None:
    """READSIDE_RESPONSE_CACHE_MB=0 turns it off."""
    cache = heard(change(1), cache=ResponseCache(0))

    assert not keep(cache, A, 1)


def test_storing_again_replaces() -> None:
    """Two callers of one cold session may both store."""
    cache = heard(change(1))
    keep(cache, A, 1)
    before = cache.bytes

    keep(cache, A, 1, as_of_us=5)

    assert (cache.bytes, len(cache)) == (before, 1)
    assert cache.get(A, 200.0, FOREVER) == (answer(A), AsOf(5, 0.0))


def test_drops_that_are_forgotten_count_for_every_session() -> None:
    """The memory of drops is bounded, and errs on the safe side."""
    cache = heard(change(1), change(2, A), change(3, B), change(4, C), cache=ResponseCache(1_000_000, max_dropped=2))

    assert not keep(cache, A, 1)  # its drop at 2 is forgotten; the floor is there instead
    assert not keep(cache, B, 2)
    assert not keep(cache, "another", 1)
    assert keep(cache, A, 2)


def test_a_message_that_was_long_on_its_way_is_as_old_as_it_is() -> None:
    """A process that hears late does not take late for fresh."""
    cache = ResponseCache(1_000_000)
    cache.hear(Change("t", 1, 10, 0, (), at_us=5_000_000), 100.0)
    cache.hear(Change("t", 2, 20, 100_000, (), at_us=6_000_000), 104.0)

    assert cache.beat == AsOf(20, 104.0 - 3.0 - 0.1)


def newest(session_id: str, *scores: int) -> Newest:
    """The newest events of a session that has older ones."""
    return Newest(session_id, scores[0], False, scores, [b'{"n":%d}' % score for score in scores])


def test_what_is_known_of_a_sessions_newest_events_goes_with_its_answers() -> None:
    """Kept by the same rule, dropped by the same messages, forgotten with the rest."""
    cache, known = heard(change(1)), newest(A, 5, 3)
    assert cache.store_newest(known, AsOf(1, 0.0), Number("t", 1))
    assert cache.newest(newest_key(A), 200.0, FOREVER) == (known, AsOf(1, 0.0))
    assert cache.newest(newest_key(B), 200.0, FOREVER) is None
    assert cache.newest(newest_key(A), 200.0, 100.0) is None

    heard(change(2, B, as_of_us=7), cache=cache)
    found = cache.newest(newest_key(A), 200.0, FOREVER)
    assert found
    assert found[1].as_of_us == 7

    heard(change(3, A), cache=cache)
    assert cache.newest(newest_key(A), 200.0, FOREVER) is None
    assert not cache.store_newest(known, AsOf(1, 0.0), Number("t", 2))
    assert (len(cache), cache.bytes) == (0, 0)


def test_what_reaches_less_far_takes_no_ones_place() -> None:
    """A page without `since` tells of the newest instant alone."""
    cache = heard(change(1))
    for known, kept in ((newest(A, 5), True), (newest(A, 5, 3), True), (newest(A, 5), False), (newest(A, 5, 2), True)):
        assert cache.store_newest(known, AsOf(1, 0.0), Number("t", 1)) == kept


def test_a_session_and_its_newest_events_are_two_things() -> None:
    """The 404 of a session is kept under its id."""
    cache = heard(change(1))
    cache.store(A, missing(A), AsOf(1, 0.0), Number("t", 1))
    cache.store_newest(newest(A, 5), AsOf(1, 0.0), Number("t", 1))

    assert len(cache) == 2
    assert holds(cache, A)


def proven(n: int, lsn: int, as_of_us: int, term: str = "t") -> Change:
    """A beat that says how far the log had come."""
    return Change(term, n, as_of_us, 500_000, (), 0, "", WalPosition(1, lsn))


def test_a_beat_is_kept_with_how_far_the_log_had_come() -> None:
    """And with the number of its message, and when its as-of was at most now."""
    cache = heard(change(1), proven(2, 700, 20), change(3, A), proven(4, 800, 30))

    assert list(cache.proofs) == [
        Proof(WalPosition(1, 700), 20, 100.5, "t", 2, ""),
        Proof(WalPosition(1, 800), 30, 102.5, "t", 4, ""),
    ]


def test_a_break_leaves_no_beat_to_hold_a_standby_against() -> None:
    """What was heard before may be of a view that is no more."""
    cache = heard(proven(1, 700, 20), change(3))

    assert list(cache.proofs) == []


def test_a_beat_that_goes_back_in_time_proves_nothing() -> None:
    """The one before counts, as it does for memory."""
    cache = heard(proven(1, 700, 20), proven(2, 800, 19))

    assert [proof.wal.lsn for proof in cache.proofs] == [700]


def test_beats_in_quick_succession_do_not_push_out_the_older_ones() -> None:
    """Standbys may be seconds behind: the last is kept, and of those before it some."""
    cache = ResponseCache(1_000_000)
    for n in range(1, 2_001):
        cache.hear(proven(n, n, n), 100 + n / 100)

    instants = [proof.since for proof in cache.proofs]
    assert cache.proofs[-1].n == 2_000
    assert len(instants) <= MAX_PROOFS
    assert instants[-1] - instants[0] > 10
    assert max(later - earlier for earlier, later in pairwise(instants)) < 2 * PROOF_SECONDS + 0.02


def test_an_answer_of_a_standby_is_kept_unless_more_was_told_since_its_beat() -> None:
    """It has the number of the beat's message: what later ones told it may lack."""
    cache = heard(proven(1, 700, 20), proven(2, 800, 30), change(3, A))
    proof = cache.proofs[0]

    assert keep(cache, B, proof.n, as_of_us=proof.as_of_us)
    assert not keep(cache, A, proof.n, as_of_us=proof.as_of_us)
