"""Instants as whole microseconds since 1970, UTC: parsed, printed, compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST_US = -(2**62)
LATEST_US = 2**62
"""Stand for what no datetime holds: `-infinity` and BC below, `infinity` and years past 9999 above."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(instant: datetime) -> int:
    """Count microseconds since 1970; raises ValueError for a datetime that does not know its offset."""
    if instant.utcoffset() is None:
        raise ValueError(f"The instant {instant.isoformat()} needs a UTC offset.")
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(instant_us: int) -> datetime:
    """Give the datetime, in UTC."""
    return _EPOCH + timedelta(microseconds=instant_us)


def printed(instant_us: int) -> str:
    """Print as `2026-01-13T14:30:00.123456Z`."""
    return f"{instant_of(instant_us).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def timestamp_us(text: str) -> int:
    """Place an event's timestamp on the line of microseconds, those too that no datetime holds."""
    try:
        return microseconds(datetime.fromisoformat(text))
    except ValueError:
        return EARLIEST_US if text.startswith("-") or text.endswith("BC") else LATEST_US
