"""Writer, projector and API together, in the test's own loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.builders import api, api_config, events_path
from tests.projecting import Bench, bench
from tests.waiting import eventually


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
        answers: list[httpx.Response] = []

        async def arrived() -> bool:
            answers.append(await self.poll(session_id, query))
            return bool(answers[-1].headers.get("readside-source") == source)

        await eventually(arrived, f"an answer from {source}")
        return answers[-1]

    async def total(self, session_id: str, wanted: int) -> None:
        """Poll until so many events are there."""

        async def there() -> bool:
            return bool((await self.poll(session_id)).json().get("total") == wanted)

        await eventually(there, f"{wanted} events")


@asynccontextmanager
async def whole_service(database_url: str, redis_url: str) -> AsyncIterator[Whole]:
    """Everything, live."""
    async with (
        bench(database_url, redis_url) as made,
        made.projector(),
        api(api_config(database_url, redis_url)) as client,
    ):
        await made.caught_up()
        yield Whole(made, client)
