"""What a store gave: one value, whichever store it was and whatever it was asked."""

from __future__ import annotations

from typing import Generic, Literal, NamedTuple, TypeVar

from query_api.memory.answers import AsOf, Number, Source
from readmodel.postgres.event_log import LogPage
from readmodel.postgres.event_stream import LogArrivals
from readmodel.view.reader import ViewArrivals, ViewPage

EventsPage = ViewPage | LogPage
"""A page of events, of either store."""
StreamPart = ViewArrivals | LogArrivals
"""What comes behind an offset, of either store."""
FallbackReason = Literal["cold", "stale", "asked", "redis_away"]
"""Why the view did not answer, in the metrics' words."""

Found = TypeVar("Found", bound=EventsPage | StreamPart, covariant=True)  # noqa: PLC0105 (a name, not a grammar)


class SourceAnswer(NamedTuple, Generic[Found]):
    """An answer of Redis or Postgres, and how fresh it is by this process' clock.

    `found.status` is None when there is no such session. `number` is what the answer may be kept under, None where it
    must not be kept. Of Postgres it is the last one heard before the query was sent, unless that is of another
    database's view, whose beats and drops tell nothing of this answer. A hot standby's answer is as of a beat, and has
    the number of that beat's message: it may lack what was told later. `reason` says why Postgres was asked.
    """

    source: Source
    found: Found
    freshness: AsOf
    number: Number | None
    reason: FallbackReason | None = None
