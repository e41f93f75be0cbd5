"""The sample sessions: believable lives with everything in them that makes a projection hard."""

from collections.abc import Iterator
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readside.demo.moves import Change, Move, NewSession, Pause, Record, Savepoint, SetStatus, Transaction
from readside.demo.workflows import LOG_WATCH, Workflow

THE_ELEVEN = {
    "session_created",
    "status_changed",
    "step_created",
    "step_status_changed",
    "artifact_created",
    "workflow_started",
    "workflow_resumed",
    "workflow_paused",
    "workflow_completed",
    "workflow_failed",
    "workflow_error",
}
seeds = st.integers(min_value=0, max_value=2**64 - 1)


@cache
def lives() -> tuple[list[Move], ...]:
    """All moves of a hundred sessions."""
    return tuple(life(seed) for seed in range(100))


def life(seed: int) -> list[Move]:
    """All moves of one session."""
    return list(Workflow(Random(seed)).moves())


def changes(moves: list[Move]) -> Iterator[Change]:
    """Every change of a life, those taken back included, in order."""
    for move in moves:
        for change in move.changes if isinstance(move, Transaction) else ():
            yield from change.changes if isinstance(change, Savepoint) else (change,)


def test_all_eleven_event_types_occur() -> None:
    """A hundred sessions show every type there is, and none that there is not."""
    seen = {change.event_type for moves in lives() for change in changes(moves) if isinstance(change, Record)}

    assert seen == THE_ELEVEN


@pytest.mark.parametrize(
    "trait",
    [
        pytest.param(lambda move: not move.commits, id="rolled back"),
        pytest.param(lambda move: move.aside and move.held_seconds > 0, id="held"),
        pytest.param(lambda move: move.bulk and len(move.changes) >= 40, id="burst"),
        pytest.param(lambda move: any(isinstance(c, Savepoint) and not c.kept for c in move.changes), id="savepoint"),
    ],
)
def test_hard_transactions_occur(trait: object) -> None:
    """A hundred sessions hold each sort of transaction that a naive projection gets wrong."""
    assert callable(trait)

    assert any(trait(move) for moves in lives() for move in moves if isinstance(move, Transaction))


def test_every_end_occurs() -> None:
    """Sessions complete, fail and are cancelled."""
    ends = {[c for c in changes(moves) if isinstance(c, SetStatus)][-1].status for moves in lives()}

    assert ends == {"completed", "failed", "cancelled"}


def test_paces_go_from_quiet_to_bursts() -> None:
    """Some sessions wait seconds between two events, others write ten a second."""
    pauses = [move.seconds for moves in lives() for move in moves if isinstance(move, Pause)]

    assert min(pauses) < 0.1
    assert max(pauses) > 5


def test_a_log_watch_lasts_an_hour() -> None:
    """Whoever looks at the demo finds one session that goes on."""
    moves = Workflow(Random(1), LOG_WATCH).moves()

    assert sum(move.seconds for move in moves if isinstance(move, Pause)) > 3600


@given(seeds)
def test_a_life_begins_with_its_row_and_ends_once(seed: int) -> None:
    """Nothing is written before the row, and nothing after the end."""
    moves = life(seed)
    first, *_ = changes(moves)
    statuses = [change.status for change in changes(moves) if isinstance(change, SetStatus)]

    assert isinstance(first, NewSession)
    assert [status for status in statuses if status in {"completed", "failed", "cancelled"}] == statuses[-1:]
    last = moves[-1]
    assert isinstance(last, Transaction)
    assert any(isinstance(change, SetStatus) for change in last.changes)


@given(seeds)
def test_ids_are_never_used_twice(seed: int) -> None:
    """Not even by what is taken back."""
    ids = [change.id for change in changes(life(seed)) if isinstance(change, Record)]

    assert len(set(ids)) == len(ids)


@given(seeds)
def test_a_burst_holds_events_only(seed: int) -> None:
    """COPY writes one table."""
    bursts = [move for move in life(seed) if isinstance(move, Transaction) and move.bulk]

    assert all(isinstance(change, Record) for burst in bursts for change in burst.changes)


@given(seeds)
def test_chance_decides_everything(seed: int) -> None:
    """The same seed gives the same life."""
    assert life(seed) == life(seed)
