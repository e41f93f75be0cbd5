"""Writer, projector and API together, in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import count

import httpx

from tests.support.builders import api, api_config, events_path
from tests.support.healing import CLOCK_US
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually


@dataclass
class Whole:
    """Writer, projector and API."""

    bench: Bench
    client: httpx.AsyncClient

    async def poll(self, session_id: str, query: str = "", **headers: str) -> httpx.Response:
        """Poll."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(events_path(session_id) + query, headers=given)

    async def served(self, session_id: str, source: str, query: str = "") -> httpx.Response:
        """Poll until an answer comes from `source`."""
        if source == "redis":
            await self.hot(session_id)
        answers: list[httpx.Response] = []

        async def arrived() -> bool:
            answers.append(await self.poll(session_id, query))
            return bool(answers[-1].headers.get("readside-source") == source)

        await eventually(arrived, f"an answer from {source}")
        return answers[-1]

    async def hot(self, session_id: str) -> None:
        """Ask what nobody has asked until Redis answers: a load leaves the answers that memory has, which are true."""
        limits = count(1)

        async def from_redis() -> bool:
            page, limit = divmod(next(limits), 400)
            answer = await self.poll(session_id, f"?limit={1000 - limit}&page={page + 1}")
            return bool(answer.headers.get("readside-source") == "redis")

        await eventually(from_redis, "the session is hot")

    async def total(self, session_id: str, wanted: int) -> None:
        """Poll until so many events are there."""

        async def there() -> bool:
            return bool((await self.poll(session_id)).json().get("total") == wanted)

        await eventually(there, f"{wanted} events")

    async def never_late(self, session_id: str, total: int | None, query: str = "") -> None:
        """Poll until an answer has so many events (None: 404), as the last commit left it.

        An answer that does not show this yet must not claim to be of an instant after the commit.
        """
        await self.shows(session_id, total, await self.now_us(), query)

    async def now_us(self) -> int:
        """Postgres' clock: what was committed until now was committed before this instant."""
        return int(await self.bench.writer.connection.fetchval(CLOCK_US))

    async def shows(self, session_id: str, total: int | None, committed_us: int, query: str = "") -> None:
        """The same for a commit of which the instant is known."""
        await eventually(partial(self._shows, session_id, total, query, committed_us), f"{total} events")

    async def _shows(self, session_id: str, total: int | None, query: str, committed_us: int) -> bool:
        answer = await self.poll(session_id, query)
        as_of_us = datetime.fromisoformat(answer.headers["readside-as-of"]).timestamp() * 1_000_000
        shown = None if answer.status_code == 404 else answer.json()["total"]

        assert answer.status_code in {200, 404}, answer.text
        assert shown == total or as_of_us < committed_us, (shown, total, answer.headers)
        return bool(shown == total)


@asynccontextmanager
async def whole_service(database_url: str, redis_url: str, **changes: object) -> AsyncIterator[Whole]:
    """Everything, live, polled over a socket as in production; `changes` are settings of the projector."""
    async with (
        bench(database_url, redis_url) as made,
        made.projector(**changes),
        api(api_config(database_url, redis_url), way="doorway") as client,
    ):
        await made.caught_up()
        yield Whole(made, client)
