"""The state of one session, and of one event of it, in both stores; asking for it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redis.exceptions import ResponseError

from readmodel.errors import EventLogUnavailable
from readmodel.postgres.client import Connection, target, translated
from readmodel.postgres.sql import Tables
from readmodel.postgres.unreadable import EventFinder
from readmodel.redis.client import translated as translated_redis
from readmodel.values.poll import Poll
from readmodel.view.header import Header
from readmodel.view.reader import Cold, Position, ViewReader
from readside.inspection.sql import statement

_ANY_LENGTH = 2**40
_STRIDE = 1_000


@dataclass(frozen=True, slots=True)
class ViewState:
    """What Redis holds. `cold` is why no poll is answered from it, None where one is; instants are ms since 1970.

    `loaded_ms` is when this copy was put there, `active_ms` when it was last polled or written to, `expires_ms` in how
    many ms Redis drops it by itself. `stamped` says under which term it was last compared: `current`, `previous` or
    `older`. `has_event` is None where no event was asked for.
    """

    position: Position | None
    header: Header | None
    cold: str | None
    stamped: str
    loaded_ms: int | None
    active_ms: int | None
    expires_ms: int | None
    now_ms: int
    has_event: bool | None


@dataclass(frozen=True, slots=True)
class LogState:
    """What Postgres holds at `now_us`; `status` is None where there is no such session.

    `newest` is a score, µs since 1970; `unfit` counts events whose timestamp no score can be. `event_session` is the
    session that the event belongs to, None where there is no such event. `event_unreadable` is why no page can hold it.
    """

    status: str | None
    count: int
    hi: int
    lo: int
    newest: int | None
    unfit: int
    now_us: int
    event_session: str | None
    event_type: str | None
    event_score: int | None
    event_timestamp: str | None
    event_unreadable: str | None = None


async def look_at_log(
    connection: Connection, tables: Tables, url: str, session_id: str, event_id: str | None
) -> LogState:
    """Ask Postgres; raises the errors of `translated`."""
    with translated(url):
        row = await connection.fetchrow(statement("explain", tables), UUID(session_id), event_id and UUID(event_id))
    if row is None:
        raise EventLogUnavailable(f"PostgreSQL at {target(url)} gave no answer.")
    unreadable = None
    if row["event_session"] is not None:
        unreadable = await EventFinder(connection, url, tables).first([UUID(event_id)])
    return LogState(
        status=row["status"],
        count=row["count"],
        hi=row["hi"],
        lo=row["lo"],
        newest=row["newest"],
        unfit=row["unfit"],
        now_us=row["now_us"],
        event_session=row["event_session"],
        event_type=row["event_type"],
        event_score=row["score"],
        event_timestamp=row["event_timestamp"],
        event_unreadable=unreadable and unreadable.reason,
    )


async def look_at_view(view: ViewReader, session_id: str, event_id: str | None, database: str = "") -> ViewState:
    """Ask Redis by the very script that answers polls, and for what stands around it.

    Raises ViewUnavailable, AccessRefused, or ForeignView where the view is of another database ("" takes any).
    """
    has_event = None if event_id is None else await _has(view, session_id, event_id)
    keys = view.keys
    pipeline: Any = view.redis.pipeline(transaction=True)
    pipeline.hmget(keys.position, "term", "previous")
    pipeline.hget(keys.header(session_id), "loaded")
    pipeline.zscore(keys.hot, session_id)
    pipeline.pttl(keys.header(session_id))
    pipeline.time()
    with translated_redis(view.redis):
        stamps, loaded, active, expires, clock = await pipeline.execute(raise_on_error=False)
        for reply in (stamps, active):
            if isinstance(reply, ResponseError):
                raise reply
    (term, previous), (seconds, micros), loaded = stamps, clock, view.unless_damaged(loaded, None)
    answer = await view.read(Poll(session_id, limit=1), _ANY_LENGTH, database)
    (header,) = await view.headers([session_id])
    stamp = header.term.encode() if header else b""
    return ViewState(
        position=await view.position(),
        header=header,
        cold=answer.reason if isinstance(answer, Cold) else None,
        stamped="current" if stamp == term else "previous" if stamp == previous else "older",
        loaded_ms=int(loaded) if loaded else None,
        active_ms=None if active is None else int(active),
        expires_ms=expires if expires >= 0 else None,
        now_ms=seconds * 1000 + micros // 1000,
        has_event=has_event,
    )


async def _has(view: ViewReader, session_id: str, event_id: str) -> bool:
    """Look for an event among all that the view holds of a session, a part at a time."""
    place = 0
    while True:
        with translated_redis(view.redis):
            try:
                place, found = await view.redis.zscan(
                    view.keys.events(session_id), place, match=f'{{"id":"{event_id}"*', count=_STRIDE
                )
            except ResponseError as error:
                place, found = view.unless_damaged(error, (0, []))
        if found:
            return True
        if not place:
            return False
