"""The rows that every measurement reads: sessions whose ids are known, and events of one size."""

from hashlib import md5
from uuid import UUID

from readmodel.postgres.client import Connection

EVENT_BYTES = 474
"""The JSON of one event, as DESIGN's figures have it."""
_MESSAGE_CHARACTERS = 164  # less the event type's: what makes the JSON so long

_SESSIONS = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
SELECT md5('session ' || n)::uuid, 'workflow', 'in_progress', 'auto', '/projects/sample', '{}', now(), now()
FROM generate_series($1::int, $2::int) AS n
"""
# Spread over the sessions in turn, as live sessions write: one session's rows lie far apart in the table.
_EVENTS = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), md5('session ' || s)::uuid, gen_random_uuid(), t.name,
       jsonb_build_object('attempt', 1, 'sequence', 10000000 + e, 'worker', 'worker-07', 'state', 'running'),
       rpad('Step ' || (10000000 + e) || ' went on ', $4::int - length(t.name), 'as it was planned '),
       now() - interval '1 hour' + e * interval '1 ms'
FROM generate_series(1, $3::int) AS e, generate_series($1::int, $2::int) AS s,
     LATERAL (SELECT ('{session_created,status_changed,step_created,step_status_changed,artifact_created,'
       || 'workflow_started,workflow_resumed,workflow_paused,workflow_completed,workflow_failed,workflow_error}'
       )::text[]) AS types (names),
     LATERAL (SELECT types.names[1 + (s + e) % 11]) AS t (name)
"""


def session_id(number: int) -> str:
    """The id of the session of this number, from 1."""
    return str(UUID(md5(f"session {number}".encode(), usedforsecurity=False).hexdigest()))


async def fill(connection: Connection, sessions: int, events_each: int, *, first: int = 1) -> None:
    """Insert sessions, numbered from `first`, with events in them; and let Postgres know its tables."""
    last = first + sessions - 1
    await connection.execute(_SESSIONS, first, last)
    await _fill_events(connection, first, last, events_each)


async def refill(connection: Connection, sessions: int, events_each: int) -> None:
    """Put other events in place of all that there are, in the first sessions."""
    await connection.execute("TRUNCATE events")
    await _fill_events(connection, 1, sessions, events_each)


async def _fill_events(connection: Connection, first: int, last: int, events_each: int) -> None:
    await connection.execute(_EVENTS, first, last, events_each, _MESSAGE_CHARACTERS)
    await connection.execute("VACUUM (ANALYZE) sessions, events")
    await connection.execute("CHECKPOINT")  # not while something is measured
