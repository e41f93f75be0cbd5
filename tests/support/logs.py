"""The log as a process writes it, gathered in memory: stderr changes under a test, and loggers remember theirs."""

import io
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import structlog

from readside.logging import Libraries, configure


class Lines:
    """The lines written so far, as JSON."""

    def __init__(self, file: io.StringIO) -> None:
        self._file = file

    @property
    def text(self) -> str:
        """All that was written."""
        return self._file.getvalue()

    def said(self, event: str) -> list[dict[str, Any]]:
        """Those of one event."""
        return [line for line in map(orjson.loads, self.text.splitlines()) if line["event"] == event]


@contextmanager
def logged(level: str, secrets: Collection[str] = ()) -> Iterator[Lines]:
    """Set the log up for as long as the block lasts."""
    configure(level, "json", secrets)
    file = io.StringIO()
    told = {"cache_logger_on_first_use": False, "logger_factory": structlog.WriteLoggerFactory(file=file)}
    structlog.configure(**{**structlog.get_config(), **told})
    try:
        yield Lines(file)
    finally:
        structlog.reset_defaults()
        root = logging.getLogger()
        root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, Libraries)]
