"""Followers of sessions' streams: by the arrival log where it has their place, else by Postgres, as the cuts say."""

import asyncio
from collections import Counter
from random import Random

from readmodel.errors import OffsetGone, ServiceError
from readmodel.values.arrivals import Arrivals
from readmodel.values.cut import START, cut_of
from readmodel.values.offset import Offset, parse_offset
from readmodel.view.reader import Cold
from readmodel.view.whole import WholeView
from tests.model.oracle import Wrong
from tests.model.postgres import Postgres
from tests.model.writers import SESSIONS

MOST = 3
"""Events of one answer."""
MAX_BYTES = 100_000
EVERY_SECONDS = 0.02
MOST_STEPS = 100
"""In so many each has caught up when all is quiet."""


class Follower:
    """Follows one session. `given` holds what it was given last of each event, and by which transaction."""

    def __init__(self, postgres: Postgres, view: WholeView, session_id: str, counts: Counter[str]) -> None:
        self._postgres = postgres
        self._view = view
        self._session_id = session_id
        self._counts = counts
        self._offset: Offset | None = None
        self._given: dict[bytes, tuple[bytes, int]] = {}

    async def step(self) -> bool:
        """Ask once; tells whether there was nothing more. Raises Wrong for what comes twice."""
        postgres, sid = self._postgres, self._session_id
        try:
            found = await self._view.part_of(sid).read_stream(
                sid, self._offset, MAX_BYTES, postgres.database, most=MOST
            )
        except OffsetGone:
            self._begin_anew()
            return False
        except ServiceError:
            return False
        arrivals = self._continued() if isinstance(found, Cold) else found.arrivals
        if arrivals is None:
            return False
        self._counts["followed by Postgres" if isinstance(found, Cold) else "followed by the log"] += len(
            arrivals.events
        )
        self._take(arrivals)
        return arrivals.up_to_date

    def missing(self) -> str | None:
        """Say what it lacks of what Postgres holds."""
        state = self._postgres.sessions.get(self._session_id)
        held = state.events if state else {}
        lacking = [key.hex() for key, event in held.items() if self._given.get(key, (b"", 0))[0] != event.member]
        return f"a follower of {self._session_id} lacks {lacking[0]}" if lacking else None

    def _continued(self) -> Arrivals | None:
        """What Postgres shows now and the offset's cut does not."""
        postgres = self._postgres
        if self._offset is not None and self._offset.origin != postgres.origin:
            self._begin_anew()
            return None
        seen, state = cut_of(str(postgres.snapshot())), postgres.sessions.get(self._session_id)
        before = self._offset.cut if self._offset else START
        held = state.events if state else {}
        new = [event.member for key, event in held.items() if not before.shows(self._written(key))]
        return Arrivals(new, Offset(postgres.origin, seen), True, state.status if state else None)

    def _take(self, arrivals: Arrivals) -> None:
        if self._offset is not None and arrivals.next.text < self._offset.text:
            raise Wrong(f"an offset of {self._session_id} went back")
        for member in arrivals.events:
            key = bytes.fromhex(member[7:43].decode().replace("-", ""))
            written = self._written(key)
            if self._given.get(key) == (member, written):
                raise Wrong(f"{key.hex()} of {self._session_id} came twice to a follower")
            self._given[key] = member, written
        self._offset = parse_offset(arrivals.next.text)

    def _written(self, key: bytes) -> int:
        return self._postgres.written.get((self._session_id, key), 0)

    def _begin_anew(self) -> None:
        self._offset = None
        self._given.clear()
        self._counts["an offset was gone"] += 1


class Followers:
    """One follower a session."""

    def __init__(self, postgres: Postgres, view: WholeView, chance: Random) -> None:
        self._chance = chance
        self.counts = Counter[str]()
        self._all = [Follower(postgres, view, session_id, self.counts) for session_id in SESSIONS]

    async def follow(self) -> None:
        """Follow for ever, now this one, now that one."""
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / EVERY_SECONDS))
            await self._chance.choice(self._all).step()

    async def fault(self) -> str | None:
        """Have all of them catch up, and say what one lacks. Nothing is written meanwhile."""
        for follower in self._all:
            for _ in range(MOST_STEPS):
                if await follower.step():
                    break
            else:
                return "a follower does not catch up"
            if fault := follower.missing():
                return fault
        return None
