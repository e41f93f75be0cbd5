"""What the demo says to the person in front of it: where everything is, then lag and rates as they change."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from readside.demo.processes import LOOPBACK
from readside.demo.watch import DemoSample, DemoWatch

# No multiples of a heartbeat: every look would fall on the same moment between two beats, and show the same lag.
TERMINAL_SECONDS = 0.7
LINES_SECONDS = 5.2  # where the output is not a terminal
RATE_READINGS = 6  # rates are over so many looks


@dataclass(frozen=True, slots=True)
class DemoFacts:
    """Where everything is.

    `key` is what goes into X-API-Key, or None where none is asked for. `token` reads the session and no other, "" where
    the demo made none.
    """

    port: int
    session_id: str
    key: str | None
    key_note: str
    data: Path | None
    token: str = ""

    @property
    def base_url(self) -> str:
        """The API's address."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def events_url(self) -> str:
        """The events of a session that goes on for long."""
        return f"{self.base_url}/api/v2/sessions/{self.session_id}/events"

    @property
    def curl(self) -> str:
        """A command to paste."""
        header = "" if self.key is None else f' -H "X-API-Key: {self.key}"'
        return f'curl -i{header} "{self.events_url}?limit=3"'

    def rows(self) -> Iterator[tuple[str, str]]:
        """Each with its name."""
        yield "Console", f"{self.base_url}/"
        yield "Console of a session", f"{self.base_url}/#session={self.session_id}"
        if self.token:
            yield "Link to that one alone", f"{self.base_url}/#session={self.session_id}&token={self.token}"
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


def show(console: Console, facts: DemoFacts) -> None:
    """Print the summary. Lines are never broken, so that each URL and the command can be copied whole."""
    _print(console, Text())
    _print(console, Text.assemble(("  readside", "bold cyan"), " runs on this machine, with live sessions.\n"))
    for name, value in facts.rows():
        _print(console, Text.assemble((f"  {name:<26}", "dim"), (value, "" if name else "dim")))
    _print(console, Text("\n  Paste this, more than once:", "dim"))
    _print(console, Text.assemble("  ", (facts.curl, "bold green")))
    _print(console, Text("\n  Ctrl-C ends everything.\n", "dim"))


async def follow(console: Console, watch: DemoWatch) -> None:
    """Say lag and rates for ever: in place on a terminal, else a line every few seconds."""
    readings = deque([await watch.read()], maxlen=RATE_READINGS)
    if not console.is_terminal:
        while True:
            await _look(watch, readings, LINES_SECONDS)
            _print(console, Text(readings[-1].line(readings[-2])))
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


def _print(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True, highlight=False)
