"""What the demo says while it starts and runs: a line for each step, and one for each fault and how it healed."""

import time
from datetime import datetime

from rich.console import Console
from rich.text import Text


def sentence(text: str) -> str:
    """The text with a capital at its beginning, whatever a part is called."""
    return text[:1].upper() + text[1:]


class Announcer:
    """Prints lines at once. Lines are never broken, so that a URL or a command can be copied whole."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Say how far the start has come, and how many seconds it has taken so far."""
        self.line(Text.assemble((f"  {time.monotonic() - self._began:5.1f} s  ", "dim"), text))

    def news(self, text: str, style: str = "") -> None:
        """Say what has happened, with the time of day."""
        self.line(Text.assemble((f"  {datetime.now().astimezone():%H:%M:%S}  ", "dim"), (sentence(text), style)))

    def line(self, text: Text) -> None:
        """Print one line, or several that are joined already."""
        self.console.print(text, soft_wrap=True, highlight=False)
