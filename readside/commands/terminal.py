"""What a command writes, and whether tables and bars can be drawn there; plain lines, never wrapped, go anywhere."""

from __future__ import annotations

import typer
from rich.console import Console

from readmodel.shown import printable
from readside.logging import hidden

LEAST_COLUMNS = 40
"""Narrower, and every word of a table has a line of its own. Some shells even say 0."""


def drawing_console(*, stderr: bool = False) -> Console | None:
    """A console on standard output, or error, if that is a terminal to draw on; None where lines are better."""
    console = Console(stderr=stderr, highlight=False)
    fits = console.is_terminal and not console.is_dumb_terminal and console.width >= LEAST_COLUMNS
    return console if fits and console.file.isatty() else None  # FORCE_COLOR makes a terminal of a pipe


def tell(text: str, *, err: bool = False) -> None:
    """Write lines; nothing in them steers a terminal, whatever a store holds."""
    typer.echo("\n".join(map(printable, text.split("\n"))), err=err)


def plain(text: str) -> str:
    """What a server or a store says for one line, without our secrets."""
    return printable(hidden(text))
