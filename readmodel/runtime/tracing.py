"""Spans of what takes time, for whoever collects them; next to nothing where nobody does.

As with a logger, whoever works calls `span`, and the composition root decides with `use` where spans go.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

Value = str | int | float | bool


class Span(Protocol):
    """What is under way."""

    def note(self, **attributes: Value) -> None:
        """Add what became known; no keys and no payloads."""


class Tracer(Protocol):
    """Makes spans."""

    def span(self, name: str, attributes: Mapping[str, Value], parent: bytes | None) -> AbstractContextManager[Span]:
        """Begin a span that ends with the block; an error that leaves the block is noted by its class."""


class _Nothing:
    """The span of nobody."""

    def __enter__(self) -> _Nothing:  # noqa: PYI034 (there is but one)
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def note(self, **_: Value) -> None:
        """Forget it."""


_NOTHING = _Nothing()
_tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Send the spans of this process to a tracer from now on; None: to nobody."""
    global _tracer  # noqa: PLW0603 (a process has one, as it has one log)
    _tracer = tracer


def span(name: str, parent: bytes | None = None, **attributes: Value) -> AbstractContextManager[Span]:
    """Begin a span within the present one, or within a caller's `parent` (a `traceparent` header, W3C)."""
    return _NOTHING if _tracer is None else _tracer.span(name, attributes, parent)
