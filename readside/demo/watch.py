"""What the demo knows about its parts while they run: ready or not, lag, rates."""

import asyncio
import re
from dataclasses import dataclass

from readmodel.projection import Projection, read_projection
from readmodel.whole_view import WholeView
from readside.demo.processes import LOOPBACK

POLLS = re.compile(rb"^readside_polls_total\{[^}]*\} (\S+)", re.MULTILINE)
HTTP_SECONDS = 5.0


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

    async def ready(self) -> bool:
        """Whether polls can be answered, and the projection is live."""
        status, _ = await get(self._port, "/health/ready")
        return status == 200 and (await self._projection()).status == "live"

    async def read(self) -> DemoSample:
        """Look once; an API that does not answer has counted nothing."""
        projection = await self._projection()
        _, metrics = await get(self._port, "/metrics")
        polls = sum(int(float(count)) for count in POLLS.findall(metrics))
        events = int((projection.leader or {}).get("events_applied") or 0)
        return DemoSample(asyncio.get_running_loop().time(), projection, events, polls)

    async def _projection(self) -> Projection:
        return await read_projection(self._view, self._max_staleness_seconds)


async def get(port: int, path: str) -> tuple[int, bytes]:
    """GET a path from a server on the loopback interface: status and body, or 0 and nothing when it does not answer."""
    try:
        async with asyncio.timeout(HTTP_SECONDS):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return int(head.split()[1]), body
    except (OSError, TimeoutError, ValueError, IndexError):
        return 0, b""
