"""Logging of every process: structlog, one line for each change of state, on stderr."""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Collection, Iterable
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from readmodel.shown import printable

REPEAT_SECONDS = 60.0
"""What a library says again and again is logged at most so often."""
LEAST_SECRET = 4
"""A shorter password is part of too many words; whoever has one hides nothing."""
_OURS = frozenset({"level", "timestamp"})


def configure(level: str, log_format: str | None, secrets: Collection[str] = ()) -> None:
    """Set structlog up: `console` or `json` lines; None decides by whether stderr is a terminal.

    The `secrets` are the keys and passwords that we know: whatever an error says, no line shows them.
    """
    _masking.begin(secrets)
    console = log_format == "console" or (log_format is None and sys.stderr.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _masking,
            *([_without_escapes] if console else []),  # JSON has its own
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler, Libraries)]
    root.addHandler(Libraries())


def _without_escapes(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave nothing in a line, or in the lines of an exception, that steers the terminal which shows the log."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = "\n".join(map(printable, value.split("\n")))
    return event


class Libraries(logging.Handler):
    """Takes what libraries (uvicorn, asyncio, OpenTelemetry) log through Python's own logging, warnings and worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said_at: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as a line of ours; one that repeats itself, with other details or not, once a minute."""
        kind, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._said_at.get(kind, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._said_at) >= 100:  # messages that are made anew each time must not fill the memory
            self._said_at.clear()
        self._said_at[kind] = now
        structlog.get_logger(record.name).log(
            record.levelno, "a library says", library=record.name, text=record.getMessage(), exc_info=record.exc_info
        )


class Masking:
    """A processor that puts `***` in the place of each secret, as it is or as URLs and Python write it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
        self._secret: re.Pattern[str] | None = None

    def begin(self, secrets: Iterable[str]) -> None:
        """Mask these, and no others."""
        self._known.clear()
        self.learn("the start", secrets)

    def learn(self, source: str, secrets: Iterable[str]) -> None:
        """Mask these too. Those that the source gave last are masked still: what bears them may be under way."""
        new = frozenset(secrets)
        former, _ = self._known.get(source, (frozenset(), frozenset()))
        if new == former and source in self._known:
            return
        self._known[source] = (new, former)
        long = {secret for pair in self._known.values() for given in pair for secret in given}
        long = {secret for secret in long if len(secret) >= LEAST_SECRET}
        forms = {form for secret in long for form in (secret, _in_url(secret), repr(secret)[1:-1])}
        longest_first = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        self._secret = re.compile(rf"(?<![0-9A-Za-z])(?:{longest_first})(?![0-9A-Za-z])") if forms else None

    def hide(self, text: str) -> str:
        """The text without the secrets in it."""
        return text if self._secret is None else self._secret.sub("***", text)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Mask every value of one line."""
        if self._secret is not None:
            for name, value in event.items():
                if name not in _OURS and not isinstance(value, int | float | None):
                    text = str(value)
                    masked = self.hide(text)
                    if masked != text:
                        event[name] = masked
        return event


def _in_url(secret: str) -> str:
    return quote(secret, safe="", errors="replace")  # half a surrogate in a file is no reason to stop


_masking = Masking()
"""The process' own: loggers keep the processors that they were made with."""


def mask(source: str, secrets: Iterable[str]) -> None:
    """Have no line of this process show these secrets, nor those that the source gave before."""
    _masking.learn(source, secrets)


def hidden(text: str) -> str:
    """A text for others' eyes: without the secrets that this process knows."""
    return _masking.hide(text)
