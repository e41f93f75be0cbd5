"""Streams followed by the clients that others publish, unmodified: npm's in a Node of its own, PyPI's in a task."""

import asyncio
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import orjson
import pytest
from durable_streams import DurableStreamError, RetentionGoneError, astream

from tests.support.waiting import PATIENCE_SECONDS, STEP_SECONDS, eventually

PUBLISHED = Path(__file__).parents[1] / "clients/published"
PROGRAM = PUBLISHED / "follow.mjs"
MISSING = (
    "npm's client needs Node.js 18 or newer, and is installed by `make test` (Debian: apt-get install nodejs npm)."
)
REQUEST_SECONDS = 30.0
"""What a program waits for an answer; longer than a long poll is held."""
START, NOW = "-1", "now"

Kind = Literal["node", "python"]
KINDS: tuple[Kind, ...] = ("node", "python")
Live = Literal["auto", "long-poll", "sse"]
"""How a client learns of what is new; "auto" is what both do unless they are told: a plain read, then long polls."""


class Delivery(NamedTuple):
    """A batch as a client gave it: `behind` the first offset, and what comes next comes behind `offset`."""

    behind: str
    ids: list[str]
    offset: str


class Resumption(NamedTuple):
    """A client gave up, and the program began again behind `offset`; `after` so many deliveries."""

    why: str
    offset: str
    after: int


@dataclass
class Followed:
    """What one follower was given, in order."""

    name: str
    offset: str
    """Behind which what comes next is."""
    deliveries: list[Delivery] = field(default_factory=list)
    resumptions: list[Resumption] = field(default_factory=list)
    failed: list[int | None] = field(default_factory=list)
    """The status with which it gave up."""

    @property
    def ids(self) -> list[str]:
        """The events that it was given, in order."""
        return [event_id for delivery in self.deliveries for event_id in delivery.ids]

    def give(self, ids: list[str], offset: str) -> None:
        """Note a batch."""
        self.deliveries.append(Delivery(self.offset, ids, offset))
        self.offset = offset

    def begin_again(self, why: str, offset: str) -> None:
        """Note that the client gave up, and where the program goes on."""
        self.resumptions.append(Resumption(why, offset, len(self.deliveries)))
        self.offset = offset

    def again(self) -> list[tuple[str, str]]:
        """The events that it had been given before, each with the offset behind which it was given again.

        Who begins again from the start is given all again.
        """
        seen: set[str] = set()
        found: list[tuple[str, str]] = []
        for delivery in self.deliveries:
            if delivery.behind == START:
                seen.clear()
            found += [(event_id, delivery.behind) for event_id in delivery.ids if event_id in seen]
            seen |= set(delivery.ids)
        return found

    def hear(self, line: bytes) -> None:
        """Note what `follow.mjs` wrote."""
        match orjson.loads(line):
            case {"ids": [*ids], "offset": str(offset)}:
                self.give(ids, offset)
            case {"anew": str(why), "offset": str(offset)}:
                self.begin_again(why, offset)
            case {"failed": status}:
                self.failed.append(status)
            case other:
                raise AssertionError(other)


@dataclass(frozen=True)
class StreamOf:
    """A stream's URL, and the headers that open it."""

    url: str
    headers: dict[str, str]

    @asynccontextmanager
    async def followed(self, kind: Kind, offset: str = START, live: Live = "auto") -> AsyncIterator[Followed]:
        """Have a client of this kind follow it for as long as the block lasts."""
        seen = Followed(f"{kind} from {offset}", offset)
        follower = by_node(self, seen, live) if kind == "node" else by_python(self, seen, live)
        async with follower:
            yield seen

    @asynccontextmanager
    async def followed_by_both(self, *offsets: str) -> AsyncIterator[list[Followed]]:
        """Have a client of each kind follow it from each of these offsets."""
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.followed(kind, offset)) for offset in offsets for kind in KINDS]

    async def head_by_node(self) -> dict[str, Any]:
        """What npm's client finds out by HEAD."""
        process = await node({"url": self.url, "headers": self.headers, "head": True})
        out, _ = await process.communicate()
        found: dict[str, Any] = orjson.loads(out)["head"]
        return found


async def complete(
    followers: Iterable[Followed], wanted: Iterable[str], timeout_seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until each follower was given all of these events."""
    followers, ids = list(followers), set(wanted)

    def given() -> bool:
        assert not any(seen.failed for seen in followers), followers
        return all(ids.issubset(seen.ids) for seen in followers)

    await eventually(given, f"{len(ids)} events at each of {[seen.name for seen in followers]}", timeout_seconds)


async def placed(followers: Sequence[Followed]) -> None:
    """Wait until those that follow from now on were told where that is."""
    await eventually(lambda: all(seen.offset != NOW for seen in followers), "each follower has an offset")


@asynccontextmanager
async def by_node(stream: StreamOf, seen: Followed, live: Live) -> AsyncIterator[None]:
    """Follow by npm's client."""
    mode = True if live == "auto" else live
    process = await node({"url": stream.url, "headers": stream.headers, "offset": seen.offset, "live": mode})
    assert process.stdin is not None
    assert process.stdout is not None
    reading = asyncio.create_task(_hear(process.stdout, seen))
    try:
        yield
    finally:
        process.stdin.close()
        await reading
        await process.wait()


async def node(order: dict[str, Any]) -> Process:
    """Start `follow.mjs`; what it complains of is shown when a test fails."""
    arguments = str(PROGRAM), orjson.dumps(order).decode()
    return await asyncio.create_subprocess_exec(node_program(), *arguments, stdin=PIPE, stdout=PIPE, limit=2**24)


def node_program() -> str:
    """Where Node is, for which npm's client is installed; fails with the one line that says what to install."""
    program = shutil.which("node")
    if program is None or not (PUBLISHED / "node_modules/.installed").exists():
        pytest.fail(MISSING, pytrace=False)
    return program


async def _hear(lines: asyncio.StreamReader, seen: Followed) -> None:
    while line := await lines.readline():
        seen.hear(line)


@asynccontextmanager
async def by_python(stream: StreamOf, seen: Followed, live: Live) -> AsyncIterator[None]:
    """Follow by PyPI's client."""
    async with httpx.AsyncClient(verify=False, timeout=REQUEST_SECONDS) as client:
        following = asyncio.create_task(_follow(stream, seen, live, client))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.wait([following])
    if not following.cancelled():
        following.result()


async def _follow(stream: StreamOf, seen: Followed, live: Live, client: httpx.AsyncClient) -> None:
    """Follow as a program does that does not give up by itself.

    The client's own `offset` is no place to resume from: it moves before the batch is there.
    """
    while True:
        session = astream(
            stream.url, offset=seen.offset, live=live, headers={**stream.headers}, client=client,
            timeout=REQUEST_SECONDS, on_error=_later,
        )  # fmt: skip
        try:
            async with session as answers:
                async for batch in answers.iter_events():
                    seen.give([event["id"] for event in batch.data], batch.next_offset)
        except RetentionGoneError:
            seen.begin_again("gone", START)
        except DurableStreamError as error:
            if not (error.status == 400 and live == "sse"):
                seen.failed.append(error.status)
                return
            live = "long-poll"
            seen.begin_again("sse", seen.offset)
        except httpx.TransportError:
            seen.begin_again("cut", seen.offset)


async def _later(error: Exception) -> dict[str, Any] | None:
    """Try again after a moment what may go better: the client itself never does."""
    if isinstance(error, httpx.TransportError) or getattr(error, "status", None) in {429, 502, 503}:
        await asyncio.sleep(5 * STEP_SECONDS)
        return {}
    return None
