"""`readside status`: is the projection fine, and if not, why; once, or again and again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.view.projection import Projection, Status, ask_projection, read_projection, unreachable
from readmodel.view.whole import WholeView
from readside.commands.plain_words import TableRow, rows
from readside.commands.stores import open_view
from readside.commands.terminal import drawing_console, plain, tell
from readside.settings import Settings

EXIT_CODES: dict[Status, int] = {"live": 0, "catching_up": 1, "stale": 1, "down": 2}
_LABEL_WIDTH = 20

Show = Callable[[Projection], None]


async def status(settings: Settings, *, as_json: bool) -> int:
    """Print the projection's state; give the exit code that the contract names.

    Raises ViewUnavailable, AccessRefused or ForeignView where Redis cannot be asked: for who reads JSON that is printed
    all the same.
    """
    async with open_view(settings) as view:
        try:
            projection = await ask_projection(view, settings.max_staleness_seconds)
        except (StoreUnavailable, StoreRefused) as error:
            if as_json:
                tell(_as_json(unreachable(error), orjson.OPT_INDENT_2))
            raise
    if as_json:
        tell(_as_json(projection, orjson.OPT_INDENT_2))
    else:
        _print(rows(projection, settings.max_staleness_seconds))
    return EXIT_CODES[projection.status]


async def watch(settings: Settings, *, as_json: bool, interval_seconds: float) -> int:
    """Show the state again and again until SIGINT or SIGTERM, a Redis that is away included; give the last one's code.

    On a terminal the screen is redrawn; elsewhere each look is a block of lines with an empty one after it, and as
    JSON one line.
    """
    code = EXIT_CODES["down"]
    with ExitStack() as stack:
        stopped = stack.enter_context(_stopped_by_signals())
        show = stack.enter_context(_screen(settings.max_staleness_seconds, interval_seconds, as_json=as_json))
        async with open_view(settings) as view:
            while not stopped.is_set():
                projection = await _unless(stopped, view, settings.max_staleness_seconds)
                if projection is None:
                    break
                show(projection)
                code = EXIT_CODES[projection.status]
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval_seconds):
                        await stopped.wait()
    return code


async def _unless(stopped: asyncio.Event, view: WholeView, max_staleness_seconds: float) -> Projection | None:
    """Ask for the state; None where we are told to stop first: a Redis that hangs must not hold us."""
    asking = asyncio.create_task(read_projection(view, max_staleness_seconds))
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if asking.done():
        return asking.result()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    return None


@contextmanager
def _stopped_by_signals() -> Any:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _screen(max_staleness_seconds: float, interval_seconds: float, *, as_json: bool) -> AbstractContextManager[Show]:
    if as_json:
        return nullcontext(lambda projection: tell(_as_json(projection)))
    console = drawing_console()
    if console:
        return _redrawn(console, max_staleness_seconds, interval_seconds)

    def block(projection: Projection) -> None:
        tell("\n".join([*_lines([TableRow("at", _now()), *rows(projection, max_staleness_seconds)]), ""]))

    return nullcontext(block)


@contextmanager
def _redrawn(console: Console, max_staleness_seconds: float, interval_seconds: float) -> Any:
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:

        def show(projection: Projection) -> None:
            head = Text(f"{_now()}, every {interval_seconds:g} s, Ctrl-C ends", style="dim")
            live.update(Group(head, _table(rows(projection, max_staleness_seconds))), refresh=True)

        yield show


def _print(shown: list[TableRow]) -> None:
    """Print a table on a terminal; elsewhere plain lines, which are never wrapped."""
    console = drawing_console()
    if console:
        console.print(_table(shown))
    else:
        tell("\n".join(_lines(shown)))


def _lines(shown: list[TableRow]) -> list[str]:
    return [f"{row.label:<{_LABEL_WIDTH}}{plain(row.text)}" for row in shown]


def _table(shown: list[TableRow]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for row in shown:
        table.add_row(row.label, Text(plain(row.text), style=row.style))
    return table


def _as_json(projection: Projection, option: int = 0) -> str:
    told = projection.as_json()
    return orjson.dumps(told | {"reason": told["reason"] and plain(told["reason"])}, option=option).decode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
