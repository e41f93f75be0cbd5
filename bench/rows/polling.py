"""What measurements have in common: a table of many sessions, of which the first is hot, or all of them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.events import fill, session_id
from bench.peers import plain
from bench.stack import ROOT, Servers, Site, redis_at

EVENTS_PATH = f"/api/v2/sessions/{session_id(1)}/events"


@asynccontextmanager
async def polled_site(
    servers: Servers, number: int = 0, *, sessions: int, events_each: int, source: Path = ROOT
) -> AsyncIterator[Site]:
    """Fill the tables, make the first session hot, and copy it into a plain sorted set for the peers."""
    async with servers.site(number, source=source) as site:
        await fill(site.connection, sessions, events_each)
        await site.run("install")
        async with site.projector(warm_limit="0"):
            await site.run("warm", session_id(1))
            await load_plain(site, [session_id(1)])
            yield site


@asynccontextmanager
async def hot_site(
    servers: Servers, number: int = 0, *, sessions: int, events_each: int, source: Path = ROOT, **settings: str
) -> AsyncIterator[Site]:
    """Fill the tables and make every session hot; `settings` are the projector's, the rest is the site's."""
    async with servers.site(number, source=source) as site:
        await fill(site.connection, sessions, events_each)
        await site.run("install")
        async with site.projector(**settings):
            await site.run("warm", *map(session_id, range(1, sessions + 1)))
            yield site


@asynccontextmanager
async def cold_site(
    servers: Servers, number: int = 0, *, sessions: int, events_each: int, **settings: str
) -> AsyncIterator[Site]:
    """Fill the tables and run a projector that has warmed none of the sessions; `settings` are the projector's."""
    async with servers.site(number) as site:
        await fill(site.connection, sessions, events_each)
        await site.run("install")
        async with site.projector(warm_limit="0", **settings):
            yield site


async def load_plain(site: Site, sessions: Sequence[str]) -> None:
    """Write these sessions into the peers' Redis."""
    async with redis_at(site.plain_url) as redis:
        await plain.load(site.connection, redis, sessions)
