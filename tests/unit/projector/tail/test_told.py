"""What letters say, from the rows of a quiet reading and of one under load."""

from typing import Any

import pytest

from projector.core.letters import Letters
from projector.tail import letterbox
from projector.tail.letterbox import MAX_IDS_OF_ONE, told, told_by_session
from readmodel.values.event import EventRow

S, T = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
E, F = "0a" * 16, "0b" * 16
E_7, F_7 = (f"{event_id}{7:016x}" for event_id in (E, F))  # with the transaction
NO_ROW = {"id": None, "score": None, "event_type": None, "hash_hi": None, "hash_lo": None, "member": None}
ROW = {"id": bytes.fromhex(E), "score": 7, "event_type": "x", "hash_hi": 1, "hash_lo": 2, "member": b"{}"}
NO_LETTER = {"kind": None, "session_id": None, "event_id": None, **NO_ROW}
EVERYTHING = "a statement changed too much to name (TRUNCATE, or thousands of sessions at once)"


def letter(kind: str, session_id: str | None = S, event_id: str | None = None, **row: object) -> dict[str, Any]:
    """A row of a quiet reading."""
    return {"kind": kind, "txid": 7, "session_id": session_id, "event_id": event_id, **NO_ROW, **row}


def of_session(session_id: str | None, *kinds: str, added: int = 0, ids: str | None = None) -> dict[str, Any]:
    """A row of a reading under load."""
    said = {name: kind in kinds for name, kind in (("everything", "x"), ("look", "l"), ("row", "r"), ("new", "n"))}
    return {"session_id": session_id, **said, "added": added, "ids": ids}


NOTHING: dict[str, Any] = {"session_id": None, "everything": None, "look": None, "row": None, "new": None,
                           "added": None, "ids": None}  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "rows", "expected"),
    [
        ("there was no letter", [NO_LETTER], Letters()),
        ("an event was added", [letter("a", S, E)], Letters(added={S: {E: None}}, txids={S: {E: 7}})),
        (
            "two were",
            [letter("a", S, E), letter("a", S, F)],
            Letters(added={S: {E: None, F: None}}, txids={S: {E: 7, F: 7}}),
        ),
        (
            "in two sessions",
            [letter("a", S, E), letter("a", T, F)],
            Letters(added={S: {E: None}, T: {F: None}}, txids={S: {E: 7}, T: {F: 7}}),
        ),
        ("it is said twice", [letter("a", S, E), letter("a", S, E)], Letters(added={S: {E: None}}, txids={S: {E: 7}})),
        ("look at it", [letter("l")], Letters(looks={S})),
        ("its status changed", [letter("r")], Letters(rows={S})),
        ("it is new", [letter("n"), letter("n", T)], Letters(created={S: None, T: None})),
        ("everything", [letter("x", None)], Letters(ended=EVERYTHING)),
        ("a look beats the events after it", [letter("l"), letter("a", S, E)], Letters(looks={S}, txids={S: {E: 7}})),
        ("and those before it", [letter("a", S, E), letter("l")], Letters(looks={S}, txids={S: {E: 7}})),
        ("but no status", [letter("r"), letter("l")], Letters(looks={S}, rows={S})),
    ],
)
def test_a_quiet_reading_tells_letter_by_letter(sentence: str, rows: list[dict[str, Any]], expected: Letters) -> None:
    """Each kind, and what wins where two speak of one session."""
    assert told(rows) == expected, sentence


def test_one_id_in_two_sessions_has_two_transactions() -> None:
    """It was deleted in the one and inserted into the other between two readings."""
    quiet = told([letter("a", T, E) | {"txid": 9}, letter("a", S, E)])
    busy = told_by_session([of_session(T, added=1, ids=f"{E}{9:016x}"), of_session(S, added=1, ids=E_7)])

    assert quiet.txids == busy.txids == {T: {E: 9}, S: {E: 7}}


def test_an_event_comes_with_its_letter() -> None:
    """The row is in the same snapshot."""
    assert told([letter("a", S, E, **ROW)]).added == {S: {E: EventRow(S, bytes.fromhex(E), 7, "x", 1, 2, b"{}")}}


def test_an_event_that_was_too_long_to_render_comes_without_its_row() -> None:
    """It is asked for where the session is hot."""
    assert told([letter("a", S, E, **{**ROW, "member": None})]).added == {S: {E: None}}


def test_an_event_without_a_score_comes_with_what_it_has() -> None:
    """It sets its session aside, rendered or not."""
    found = told([letter("a", S, E, **{**ROW, "score": None, "member": None})]).added[S][E]

    assert found is not None
    assert found.score is None


@pytest.mark.parametrize(
    ("sentence", "rows", "expected"),
    [
        ("there was no letter", [NOTHING], Letters()),
        ("an event was added", [of_session(S, added=1, ids=E_7)], Letters(added={S: {E: None}}, txids={S: {E: 7}})),
        ("two were", [of_session(S, added=2, ids=E_7 + F_7)],
         Letters(added={S: {E: None, F: None}}, txids={S: {E: 7, F: 7}})),
        ("look at it", [of_session(S, "l")], Letters(looks={S})),
        ("a look beats events", [of_session(S, "l", added=1, ids=E_7)], Letters(looks={S}, txids={S: {E: 7}})),
        ("a new one with an event", [of_session(S, "n", added=1, ids=E_7)],
         Letters(created={S: None}, added={S: {E: None}}, txids={S: {E: 7}})),
        ("its status changed", [of_session(S, "r")], Letters(rows={S})),
        ("events that were too many to name", [of_session(S, added=5, ids=None)], Letters(looks={S})),
        ("as many of one as are named", [of_session(S, added=2, ids=E_7 + F_7), of_session(T, "n")],
         Letters(added={S: {E: None, F: None}}, created={T: None}, txids={S: {E: 7, F: 7}})),
        ("everything, beside others", [of_session(None, "x"), of_session(S, "l")],
         Letters(looks={S}, ended=EVERYTHING)),
    ],
)  # fmt: skip
def test_a_reading_under_load_tells_session_by_session(
    sentence: str, rows: list[dict[str, Any]], expected: Letters
) -> None:
    """Each kind, and what wins."""
    assert told_by_session(rows) == expected, sentence


@pytest.mark.parametrize("kind", ["a", "l"])
def test_an_event_of_no_session_ends_the_term(kind: str) -> None:
    """Somebody has made its column nullable: the next term says so."""
    under_load = of_session(None, *([] if kind == "a" else [kind]), added=int(kind == "a"), ids=E_7)
    ended = Letters(ended="an event was written that belongs to no session")

    assert told([letter(kind, None, E)]) == told_by_session([under_load]) == ended


@pytest.mark.parametrize(("added", "is_looked_at"), [(MAX_IDS_OF_ONE, False), (MAX_IDS_OF_ONE + 1, True)])
def test_many_events_of_one_session_make_a_look(added: int, is_looked_at: bool) -> None:
    """It is cheaper to read the session again."""
    ids = "".join(f"{n:032x}{7:016x}" for n in range(added))
    letters = told_by_session([of_session(S, added=added, ids=ids)])

    assert (S in letters.looks, S in letters.added) == (is_looked_at, not is_looked_at)


@pytest.mark.parametrize(("sessions", "ends"), [(3, False), (4, True)])
def test_too_many_sessions_end_the_term(monkeypatch: pytest.MonkeyPatch, sessions: int, ends: bool) -> None:
    """One row more than the bound says that there are others."""
    monkeypatch.setattr(letterbox, "MAX_SESSIONS", 3)
    letters = told_by_session([of_session(f"{n}", "n") for n in range(sessions)])

    assert (letters.ended == "more than 3 sessions changed before they could be looked at") is ends
    assert len(letters.created) == (0 if ends else sessions)
