"""What the demo says to the person in front of it: where everything is, then lag and rates as they change."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from readside.demo.announcer import Announcer
from readside.demo.heal_meter import FAULTS_SESSION
from readside.demo.processes import LOOPBACK
from readside.demo.watch import DemoSample, DemoWatch

# No multiples of a heartbeat: every look would fall on the same moment between two beats, and show the same lag.
TERMINAL_SECONDS = 0.7
LINES_SECONDS = 5.2  # where the output is not a terminal
RATE_READINGS = 6  # rates are over so many looks


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """Where everything is.

    `seed` begins the faults of chaos; None: there are none. `key` is what goes into X-API-Key, or None where none is
    asked for. `token` reads the session and no other, "" where the demo made none.
    """

    port: int
    session_id: str
    key: str | None
    key_note: str
    data: Path | None
    token: str = ""
    seed: int | None = None

    @property
    def base_url(self) -> str:
        """The API's address."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def events_url(self) -> str:
        """The events of a session that goes on for long."""
        return f"{self.base_url}/api/v2/sessions/{self.session_id}/events"

    @property
    def poll_command(self) -> str:
        """A command to paste: the newest events."""
        return f'curl -i{self._header} "{self.events_url}?limit=3"'

    @property
    def stream_command(self) -> str:
        """A command to paste: it waits for the next event of the session's stream."""
        url = self.events_url.removesuffix("events") + "stream"
        return f'curl -i{self._header} "{url}?offset=now&live=long-poll"'

    @property
    def _header(self) -> str:
        return "" if self.key is None else f' -H "X-API-Key: {self.key}"'

    def rows(self) -> Iterator[tuple[str, str]]:
        """What the summary lists, each with its name before it."""
        yield "Console", f"{self.base_url}/"
        yield "Console of a session", f"{self.base_url}/#session={self.session_id}"
        if self.seed is not None:
            yield "Console of the faults", f"{self.base_url}/#session={FAULTS_SESSION}"
        if self.token:
            yield "Link for this session only", f"{self.base_url}/#session={self.session_id}&token={self.token}"
        yield "Events of a live session", self.events_url
        yield "API documentation", f"{self.base_url}/docs"
        yield "Lag and state", f"{self.base_url}/api/v2/projection"
        yield "Sessions in Redis", f"{self.base_url}/api/v2/projection/sessions"
        yield "Metrics", f"{self.base_url}/metrics"
        if self.key is not None:
            yield "API key", self.key
        yield "", self.key_note
        if self.data is not None:
            yield "Data and logs, kept", str(self.data)


def show(announcer: Announcer, facts: DemoFacts) -> None:
    """Print the summary."""
    line = announcer.line
    line(Text())
    line(Text.assemble(("  readside", "bold cyan"), " runs on this machine, with live sessions.\n"))
    for name, value in facts.rows():
        line(Text.assemble((f"  {name:<28}", "dim"), (value, "" if name else "dim")))
    for what, command in (("The newest events", facts.poll_command), ("The next event", facts.stream_command)):
        line(Text(f"\n  {what} (paste it more than once):", "dim"))
        line(Text.assemble("  ", (command, "bold green")))
    if facts.seed is not None:
        line(Text(f"\n  Chaos strikes every few seconds. The same again: --chaos --seed {facts.seed}", "magenta"))
    line(Text("\n  Ctrl-C ends everything.\n", "dim"))


async def follow(console: Console, watch: DemoWatch) -> None:
    """Say lag and rates for ever: in place on a terminal, else a line every few seconds."""
    readings = deque([await watch.read()], maxlen=RATE_READINGS)
    if not console.is_terminal:
        while True:
            await _look(watch, readings, LINES_SECONDS)
            console.print(Text(readings[-1].line(readings[-2])), soft_wrap=True, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            await _look(watch, readings, TERMINAL_SECONDS)
            live.update(_colored(readings[-1], readings[-1].line(readings[0])), refresh=True)


async def _look(watch: DemoWatch, readings: deque[DemoSample], seconds: float) -> None:
    await asyncio.sleep(seconds)
    readings.append(await watch.read())


def _colored(reading: DemoSample, line: str) -> Text:
    style = "green" if reading.projection.status == "live" else "yellow"
    return Text.assemble(("  * ", style), line, no_wrap=True, overflow="ellipsis")
