"""Whether the view, when all is quiet, equals Postgres: key by key, and every session that should be there is."""

from collections import Counter

from projector.loads.snapshot import type_counts
from readmodel.view.reader import WholeSession
from readmodel.view.type_index import unpack_index
from readmodel.view.whole import WholeView
from tests.model.postgres import UNFIT, Postgres
from tests.model.transactions import State
from tests.model.writers import SESSIONS
from tests.support.viewing import indexed, newest_first

WINDOW_EVENTS = 7
WINDOW_BYTES = 4_000


class Auditor:
    """Compares all that Redis holds of the sessions with Postgres."""

    def __init__(self, postgres: Postgres, view: WholeView) -> None:
        self._postgres = postgres
        self._view = view

    async def fault(self, most_hot: int, last_us: int) -> str | None:
        """Say what differs, if anything; a slice has room for its part of `most_hot`, and is later than `last_us`."""
        slices = self._view.slices
        for index, part in enumerate(self._view.parts):
            at, here = await part.position(), [sid for sid in SESSIONS if slices.index_of(sid) == index]
            if at is None or (at.as_of_us or 0) <= last_us:
                return f"slice {index} is as of before it"
            all_hot = -(-most_hot // slices.count) >= len(here)
            for session_id in here:
                if fault := await self._fault_of(session_id, all_hot=all_hot):
                    return fault
        return None

    async def _fault_of(self, session_id: str, *, all_hot: bool) -> str | None:
        whole, state = await self._view.part_of(session_id).whole(session_id), self._postgres.sessions.get(session_id)
        hot = whole is not None and whole.term == whole.header.term
        if whole is not None and hot and (state is None or not _equal(whole, state)):
            return f"{session_id} differs"
        if not hot and all_hot and state is not None and _fit(state):
            return f"{session_id} is not hot"
        return None


def _fit(state: State) -> bool:
    """Tell whether the view can hold a session."""
    return all(event.score != UNFIT and len(event.member) <= WINDOW_BYTES for event in state.events.values())


def _equal(whole: WholeSession, state: State) -> bool:
    header, truth, held = whole.header, state.truth(), newest_first(state.events.values())[: whole.header.held]
    kinds = Counter(event.event_type for event in state.events.values())
    entries = [(name, entry) for name, listed in indexed(held).items() for entry in listed]
    return (
        (header.status, header.count, header.hi, header.lo) == (truth.status, truth.count, truth.hi, truth.lo)
        and header.complete
        and (header.floor is None) == (header.held == header.count)
        and sorted(whole.members) == sorted((event.member, float(event.score or 0)) for event in held)
        and {f"t:{name}": count for name, count in whole.types.items()} == type_counts(kinds)
        and unpack_index(whole.type_index) == frozenset(entries)
    )
