"""What the demo knows about its parts while they run: ready or not, lag, rates."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from readmodel.view.projection import Projection, read_projection
from readmodel.view.whole import WholeView
from readside.demo.processes import LOOPBACK

POLLS = re.compile(rb"^readside_polls_total\{[^}]*\} (\S+)", re.MULTILINE)
HTTP_SECONDS = 5.0


class DemoAnswer(NamedTuple):
    """Status, header fields by their names in small letters, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class DemoSample:
    """One look: the projection, and how many events and polls went through since the parts started."""

    at: float
    projection: Projection
    events: int
    polls: int

    def line(self, earlier: "DemoSample") -> str:
        """The state in one line, with the rates since an earlier look."""
        seconds = max(self.at - earlier.at, 0.001)
        events, polls = max(0, self.events - earlier.events) / seconds, max(0, self.polls - earlier.polls) / seconds
        projection = self.projection
        if projection.status == "live":
            state = f"live, {projection.lag_ms} ms behind"
        else:
            state = f"{projection.status.replace('_', ' ')}: {projection.reason}"
        return f"{state}, {events:.0f} events/s, {polls:.0f} polls/s, {projection.hot_sessions or 0} sessions in Redis"


class DemoWatch:
    """Looks at one API and at one view."""

    def __init__(self, view: WholeView, port: int, max_staleness_seconds: float) -> None:
        self._view = view
        self._port = port
        self._max_staleness_seconds = max_staleness_seconds

    async def answering(self) -> bool:
        """Whether the API can answer polls."""
        return (await get(self._port, "/health/ready")).status == 200

    async def live(self) -> bool:
        """Whether the projection is live."""
        return (await self._projection()).status == "live"

    async def read(self) -> DemoSample:
        """Look once; an API that does not answer has counted nothing."""
        projection = await self._projection()
        metrics = (await get(self._port, "/metrics")).body
        polls = sum(int(float(count)) for count in POLLS.findall(metrics))
        events = int((projection.leader or {}).get("events_applied") or 0)
        return DemoSample(asyncio.get_running_loop().time(), projection, events, polls)

    async def _projection(self) -> Projection:
        return await read_projection(self._view, self._max_staleness_seconds)


async def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> DemoAnswer:
    """GET a path from a server on the loopback interface; status 0 and nothing when it does not answer."""
    sent = {"Host": f"{LOOPBACK}:{port}", "Connection": "close", **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    try:
        async with asyncio.timeout(HTTP_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        status, *fields = head.decode("latin-1").split("\r\n")
        pairs = (field.partition(":") for field in fields)
        return DemoAnswer(int(status.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body)
    except (OSError, TimeoutError, ValueError, IndexError):
        return DemoAnswer(0, {}, b"")
