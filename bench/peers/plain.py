"""The peers' Redis: one plain sorted set a session, score µs since 1970, member the event's final JSON."""

from collections.abc import Sequence
from uuid import UUID

from redis.asyncio import Redis

from readmodel.postgres.client import Connection

EVENT_JSON = """
'{"id":"' || id || '","session_id":"' || session_id || '","step_id":' || coalesce('"' || step_id || '"', 'null')
  || ',"event_type":' || to_json(event_type) || ',"event_data":' || event_data
  || ',"message":' || coalesce(to_json(message)::text, 'null')
  || ',"timestamp":"' || to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"}'
"""
SCORE = "(extract(epoch FROM timestamp) * 1000000)::bigint"
_EVENTS = f"SELECT {SCORE} AS score, {EVENT_JSON} AS member FROM events WHERE session_id = $1"


def key_of(session_id: str) -> str:
    """Name a session's sorted set."""
    return f"plain:{session_id}"


async def load(connection: Connection, redis: Redis, sessions: Sequence[str]) -> None:
    """Write sessions' events into their sorted sets."""
    for session_id in sessions:
        rows = await connection.fetch(_EVENTS, UUID(session_id))
        for first in range(0, len(rows), 10_000):
            members = {row["member"]: row["score"] for row in rows[first : first + 10_000]}
            await redis.zadd(key_of(session_id), members)
