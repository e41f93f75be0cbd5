"""Instants as readside writes them: whole microseconds since 1970 inside, RFC 3339 outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def rfc3339(instant_us: int) -> str:
    """Print an instant, microseconds since 1970, as `2026-01-13T14:30:00.123456Z` (always six decimals)."""
    instant = _EPOCH + timedelta(microseconds=instant_us)
    return f"{instant.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"  # strftime writes year 1 as 1


def microseconds(instant: datetime) -> int:
    """Count whole microseconds since 1970 of a datetime that knows its offset; exact, unlike `timestamp()`."""
    return (instant - _EPOCH) // _MICROSECOND
