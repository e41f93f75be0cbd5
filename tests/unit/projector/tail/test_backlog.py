"""What was heard and not applied yet: it collapses in place, keeps its bounds, and survives hostile payloads."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.tail import backlog
from projector.tail.backlog import Backlog, HeardBeat, Notices

TERM = "0f" * 16


def sid(number: int) -> str:
    """A session id."""
    return str(UUID(int=number))


def eid(number: int) -> str:
    """An event id as a notice writes it."""
    return f"{number:032x}"


@pytest.fixture
def wake() -> asyncio.Event:
    """The event that tells the projector to look."""
    return asyncio.Event()


@pytest.fixture
def heard(wake: asyncio.Event) -> Backlog:
    """An empty backlog of the term."""
    return Backlog(TERM, wake)


def test_nothing_heard_is_nothing(heard: Backlog, wake: asyncio.Event) -> None:
    """No work, and nobody is woken."""
    assert heard.take() == Notices()
    assert not wake.is_set()


def test_each_verb(heard: Backlog, wake: asyncio.Event) -> None:
    """Added ids by session, looks, rows, new sessions, and the beat."""
    heard.hear(f"a {sid(1)} {eid(1)} {eid(2)}")
    heard.hear(f"a {sid(1)} {eid(2)} {eid(3)}")
    heard.hear(f"l {sid(2)} {sid(3)}")
    heard.hear(f"r {sid(4)}")
    heard.hear(f"n {sid(6)} {sid(5)}")
    heard.hear(f"b {TERM} nonce 1768314600000000 prints")
    notices = heard.take()
    letters = notices.letters

    assert wake.is_set()
    assert letters.added == {sid(1): dict.fromkeys([eid(1), eid(2), eid(3)])}
    assert (letters.looks, letters.rows, list(letters.created)) == ({sid(2), sid(3)}, {sid(4)}, [sid(6), sid(5)])
    assert notices.beat == HeardBeat("nonce", 1_768_314_600_000_000, "prints")
    assert letters.named() == {sid(number) for number in range(1, 7)}
    assert letters.ended is None


def test_taking_begins_anew(heard: Backlog) -> None:
    """What was handed over is not handed over again."""
    heard.hear(f"a {sid(1)} {eid(1)}")

    assert heard.take() != Notices()
    assert heard.take() == Notices()


def test_a_look_takes_in_what_was_added(heard: Backlog) -> None:
    """Ids named before or after a look are read with the whole session."""
    heard.hear(f"a {sid(1)} {eid(1)}")
    heard.hear(f"l {sid(1)}")
    heard.hear(f"a {sid(1)} {eid(2)}")
    letters = heard.take().letters

    assert (letters.added, letters.looks) == ({}, {sid(1)})


def test_many_ids_of_one_session_become_a_look(heard: Backlog) -> None:
    """The bound itself is kept as ids; one more collapses."""
    for number in range(backlog.MAX_IDS_OF_ONE):
        heard.hear(f"a {sid(1)} {eid(number)}")
    heard.hear(f"a {sid(1)} {eid(0)}")  # known already
    heard.hear(f"a {sid(2)} {eid(1)}")
    full = heard.take()
    assert len(full.letters.added[sid(1)]) == backlog.MAX_IDS_OF_ONE

    for start in range(0, backlog.MAX_IDS_OF_ONE + 1, 7):
        heard.hear(f"a {sid(1)} " + " ".join(map(eid, range(start, start + 7))))
    heard.hear(f"a {sid(2)} {eid(1)}")
    letters = heard.take().letters
    assert (set(letters.added), letters.looks) == ({sid(2)}, {sid(1)})


def test_all_ids_together_have_a_bound(heard: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past it sessions are looked at; taking makes room again."""
    monkeypatch.setattr(backlog, "MAX_IDS", 10)
    for number in range(30):
        heard.hear(f"a {sid(number)} {eid(number)}")
    letters = heard.take().letters
    waiting = sum(map(len, letters.added.values()))
    assert 9 <= waiting <= 10
    assert len(letters.looks) == 30 - waiting
    assert letters.named() == {sid(number) for number in range(30)}

    heard.hear(f"a {sid(1)} {eid(1)}")
    assert heard.take().letters.added == {sid(1): {eid(1): None}}


def test_the_largest_session_makes_room(heard: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one whose notice came last: it may be a bystander."""
    monkeypatch.setattr(backlog, "MAX_IDS", 20)
    heard.hear(f"a {sid(1)} {eid(1)}")
    heard.hear(f"a {sid(2)} " + " ".join(map(eid, range(12))))
    heard.hear(f"a {sid(3)} " + " ".join(map(eid, range(7))))
    heard.hear(f"a {sid(4)} {eid(1)}")
    letters = heard.take().letters

    assert letters.looks == {sid(2)}
    assert {session: len(ids) for session, ids in letters.added.items()} == {sid(1): 1, sid(3): 7, sid(4): 1}


def test_making_room_is_rare(heard: Backlog) -> None:
    """Notices of a single event each, over and over past the bound: the sessions are sorted once in many of them."""
    sorts = 0

    def make_room() -> None:
        nonlocal sorts
        sorts += 1
        original()

    original, heard._make_room = heard._make_room, make_room  # type: ignore[method-assign]
    for number in range(backlog.MAX_IDS):
        heard.hear(f"a {sid(number % 1000)} {eid(number)}")
    for number in range(backlog.MAX_IDS // 2):
        heard.hear(f"a {sid(1000 + number % 1000)} {eid(number)}")

    assert 1 <= sorts <= 5


def test_a_look_frees_the_ids_of_its_session(heard: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What collapsed does not count against the bound."""
    monkeypatch.setattr(backlog, "MAX_IDS", 10)
    for _ in range(5):
        heard.hear(f"a {sid(1)} " + " ".join(map(eid, range(8))))
        heard.hear(f"l {sid(1)}")
    heard.hear(f"a {sid(2)} " + " ".join(map(eid, range(10))))

    assert heard.take().letters.added.keys() == {sid(2)}


@pytest.mark.parametrize("verb", ["a", "l", "r", "n"])
def test_too_many_sessions_end_the_term(heard: Backlog, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """Whatever names them: past the bound nothing is remembered but the reason."""
    monkeypatch.setattr(backlog, "MAX_SESSIONS", 5)
    words = [f"{verb} {sid(number)}" + (f" {eid(1)}" if verb == "a" else "") for number in range(6)]
    for payload in words[:5]:
        heard.hear(payload)
    assert heard.ended is None
    heard.hear(words[5])

    assert "more than 5 sessions" in str(heard.ended)
    notices = heard.take()
    letters = notices.letters
    assert (letters.named(), notices.beat) == (set(), None)
    assert letters.ended is not None


def test_x_ends_the_term(heard: Backlog, wake: asyncio.Event) -> None:
    """TRUNCATE and the like: nothing is known any more; the first reason stays."""
    heard.hear(f"a {sid(1)} {eid(1)}")
    heard.hear("x")
    first = heard.ended
    heard.end("something else")

    assert first is not None
    assert wake.is_set()
    assert heard.take().letters.ended == first


def test_the_last_beat_counts(heard: Backlog) -> None:
    """Beats that came back before the last one say nothing more."""
    heard.hear(f"b {TERM} one 1 f")
    heard.hear(f"b {TERM} two 2 f")

    assert heard.take().beat == HeardBeat("two", 2, "f")


@pytest.mark.parametrize(
    "payload",
    [
        "b another 1 1 f", f"b {TERM} 1 1", f"b {TERM} 1 1 f g", f"b {TERM} n x f", f"b {TERM} n -1 f", "b", "b ",
        f"b {TERM} n {'9' * 19} f", f"b {TERM} n ½ f", f"b {TERM} n 1.5 f",
    ],
)  # fmt: skip
def test_foreign_beats_move_nothing(heard: Backlog, payload: str) -> None:
    """Another deployment's, an old term's, a malformed one: no beat, and nothing to mend."""
    heard.hear(payload)

    assert heard.take() == Notices()


@pytest.mark.parametrize(
    "payload",
    [
        "", " ", "a", "l", "r", "n", "l ", f"a {sid(1)}", f"a {sid(1)} ", f"a {eid(1)} {sid(1)}",
        f"a {sid(1)} {eid(1)}  {eid(2)}", f"a {sid(1)} {eid(1)[:-1]}", f"a {sid(1)} {eid(10).upper()}",
        f"l {sid(10).upper()}", f"l {sid(1)},{sid(2)}", f"l {sid(1)} ", f"l {sid(1)}\n", f"L {sid(1)}", f"q {sid(1)}",
        f"n {{{sid(1)}}}", "r *", "hello world", "🙂", "a\0b", "l " + "9" * 7000, f"l {sid(1)} '; DROP TABLE events",
    ],
)  # fmt: skip
def test_malformed_notices_are_counted_and_ignored(heard: Backlog, wake: asyncio.Event, payload: str) -> None:
    """Anybody may NOTIFY on the channel."""
    heard.hear(payload)

    assert heard.ignored == 1
    assert heard.take() == Notices()
    assert not wake.is_set()


@given(payload=st.one_of(st.text(max_size=200), st.from_regex(r"[alrnxb]( [0-9a-f-]{0,40}){0,5}", fullmatch=True)))
def test_no_payload_raises(payload: str) -> None:
    """Whatever is heard is noted, ignored, or the end of the term."""
    heard = Backlog(TERM, asyncio.Event())
    heard.hear(payload)
    letters = heard.take().letters

    assert all(str(UUID(session)) == session for session in letters.named())


NOTICES = st.one_of(
    st.tuples(st.just("a"), st.integers(0, 5), st.lists(st.integers(0, 99), min_size=1, max_size=6)),
    st.tuples(st.sampled_from("lrn"), st.integers(0, 5), st.just([0])),
)


@given(notices=st.lists(NOTICES, max_size=40))
def test_nothing_named_is_ever_forgotten(notices: list[tuple[str, int, list[int]]]) -> None:
    """Until the term ends every id is either waiting under its session, or its session is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog, "MAX_IDS", 12)
        patch.setattr(backlog, "MAX_IDS_OF_ONE", 5)
        heard = Backlog(TERM, asyncio.Event())
        for verb, session, ids in notices:
            heard.hear(f"{verb} {sid(session)}" + ("".join(f" {eid(i)}" for i in ids) if verb == "a" else ""))
        letters = heard.take().letters

    assert letters.named() == {sid(session) for _, session, _ in notices}
    for verb, session, ids in notices:
        if verb == "a":
            assert sid(session) in letters.looks or letters.added[sid(session)].keys() >= set(map(eid, ids))
        else:
            assert sid(session) in {"l": letters.looks, "r": letters.rows, "n": letters.created}[verb]
    assert sum(map(len, letters.added.values())) <= 12
    assert letters.looks.isdisjoint(letters.added)
