"""Whether tables and bars can be drawn where a command writes; plain lines, which are never wrapped, go anywhere."""

from __future__ import annotations

from rich.console import Console

LEAST_COLUMNS = 40
"""Narrower, and every word of a table has a line of its own. Some shells even say 0."""


def drawing_console(*, stderr: bool = False) -> Console | None:
    """Give a console on standard output, or error, if that is a terminal to draw on; None where lines are better."""
    console = Console(stderr=stderr, highlight=False)
    fits = console.is_terminal and not console.is_dumb_terminal and console.width >= LEAST_COLUMNS
    return console if fits and console.file.isatty() else None  # FORCE_COLOR makes a terminal of a pipe
