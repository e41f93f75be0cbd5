"""The SQL that renders events and scores, cheap as it is made, gives the bytes that plain SQL gives."""

import random
from collections.abc import AsyncIterator
from importlib.resources import files
from uuid import uuid4

import asyncpg
import pytest

from tests.support.projecting import INSERT_SESSION
from tests.support.servers import connected

PLAIN_JSON = """
'{"id":"' || e.id || '","session_id":"' || e.session_id || '","step_id":' || coalesce('"' || e.step_id || '"', 'null')
  || ',"event_type":' || to_json(e.event_type) || ',"event_data":' || e.event_data
  || ',"message":' || coalesce(to_json(e.message)::text, 'null') || ',"timestamp":"' || CASE
  WHEN e.timestamp >= '0001-01-01 00:00:00+00'::timestamptz AND e.timestamp < '10000-01-01 00:00:00+00'::timestamptz
  THEN to_char(e.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ELSE e.timestamp::text END || '"}'
"""
PLAIN_SCORE = """
CASE WHEN e.timestamp > '1684-07-28 00:12:26+00'::timestamptz AND e.timestamp < '2255-06-05 23:47:34+00'::timestamptz
     THEN (extract(epoch FROM e.timestamp) * 1000000)::bigint END
"""
SHARED = files("readmodel.postgres.sql")
EDGES = [
    "infinity",
    "-infinity",
    "4713-11-24 00:00:00+00 BC",
    "294276-12-31 23:59:59.999999+00",
    "0001-12-31 23:59:59.999999+00 BC",
    "0001-01-01 00:00:00+00",
    "0999-02-28 12:00:00.000001+00",
    "9999-12-31 23:59:59.999999+00",
    "10000-01-01 00:00:00+00",
    "1684-07-28 00:12:26+00",
    "1684-07-28 00:12:26.000001+00",
    "2255-06-05 23:47:33.999999+00",
    "2255-06-05 23:47:34+00",
    "1899-12-31 23:59:59.999999+00",
    "1900-01-01 00:00:00+00",
    "1900-01-01 00:00:00.000001+00",
    "1969-12-31 23:59:59.999999+00",
    "1970-01-01 00:00:00+00",
    "2000-02-29 00:00:00+00",
    "2001-09-09 01:46:39.999999+00",
    "2026-01-13 14:30:00.5+00",
    "2026-03-29 02:30:00.1+01",
    "2026-10-25 02:30:00.12+02",
    "2039-12-31 23:59:59.999999+00",
    "2040-01-01 00:00:00+00",
]
TEXTS = [
    *("", "a\r\n$3\r\nb", 'quote " and \\ back', "\x01\x1f\x7f\t\b\f", "*1\r\n"),
    *("é ü 漢字 \u2028 😀", "</script>", "%s {0}"),
]
SETTINGS: list[dict[str, str]] = [
    {},
    {"timezone": "Asia/Kathmandu", "datestyle": "German, DMY", "intervalstyle": "sql_standard"},
    {"timezone": "America/St_Johns", "datestyle": "SQL, MDY", "intervalstyle": "iso_8601", "extra_float_digits": "-5"},
    {"timezone": "Europe/Berlin", "datestyle": "Postgres, YMD", "bytea_output": "escape"},
]
INSERT = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), $1::uuid, CASE WHEN n % 2 = 0 THEN gen_random_uuid() END, texts[1 + n % 8],
       jsonb_build_object('n', n / 7.0, 'text', texts[1 + n % 8]), texts[n % 9], t.at
FROM (
  SELECT row_number() OVER ()::int AS n, $3::text[] AS texts, i.at FROM (
    SELECT 'epoch'::timestamptz + us / 1000000 * interval '1 s' + us % 1000000 * interval '1 us' AS at
    FROM unnest($2::bigint[]) us
    UNION ALL SELECT edge::timestamptz FROM unnest($4::text[]) edge
  ) i
) t
"""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A database with events of all sorts of instants and texts."""
    chance = random.Random(20260113)
    instants = [chance.randrange(-(2**51), 2**51) for _ in range(4_000)]
    instants += [chance.randrange(-62_135_596_800_000_000, 253_402_300_800_000_000) for _ in range(2_000)]
    instants += [chance.randrange(10**8) * 10**zeros for zeros in range(8) for _ in range(10)]
    async with connected(database_url) as made:
        session = str(uuid4())
        await made.execute(INSERT_SESSION, session, "in_progress")
        await made.execute(INSERT, session, instants, TEXTS, EDGES * len(TEXTS))
        yield made


@pytest.mark.parametrize("settings", SETTINGS)
async def test_members_and_scores_are_those_of_plain_sql(
    connection: "asyncpg.Connection[asyncpg.Record]", settings: dict[str, str]
) -> None:
    """Whatever the connection's settings: ETags and what is stored hang on every byte."""
    await connection.execute(f"""
        SET timezone = 'UTC'; SET datestyle = 'ISO';
        CREATE TEMP TABLE plain AS SELECT id, {PLAIN_SCORE} AS score, {PLAIN_JSON} AS member FROM events e
        """)
    for name, value in settings.items():
        await connection.execute("SELECT set_config($1, $2, false)", name, value)
    found = await connection.fetchrow(f"""
        SELECT count(*) AS rows, count(e.score) AS scored,
               count(*) FILTER (WHERE e.member IS DISTINCT FROM plain.member) AS other_members,
               count(*) FILTER (WHERE e.score IS DISTINCT FROM plain.score) AS other_scores
        FROM (SELECT e.id, {SHARED.joinpath("score.sql").read_text()} AS score,
                     {SHARED.joinpath("event_json.sql").read_text()} AS member
              FROM events e) e JOIN plain USING (id)
        """)

    assert found is not None
    assert found["rows"] > found["scored"] > 4_000
    assert (found["other_members"], found["other_scores"]) == (0, 0)
