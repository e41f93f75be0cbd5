"""The plain way to fill Redis from Postgres: psql prints commands of Redis' protocol, `redis-cli --pipe` sends them.

One sorted set a session, one ZADD an event; no type index, no header, no counts, nothing that readers could go wrong
by while it runs. In `built` the query makes each command from the tables, as a rebuild must; in `ready` the commands
lie in a table, finished, and the query only reads them.
"""

import asyncio
import os
import shlex
import shutil
from typing import Literal
from urllib.parse import urlsplit

from bench.peers.plain import EVENT_JSON, SCORE
from bench.stack import Site
from bench.table import BenchError
from readside.demo.embedded_postgres import bundled_programs

# psql ends each line by \n: with \r at its end, a row is a command of Redis' protocol.
_COMMANDS = rf"""
SELECT E'*4\r\n$4\r\nZADD\r\n$42\r\nplain:' || session_id || E'\r\n$' || octet_length(score) || E'\r\n' || score
       || E'\r\n$' || octet_length(member) || E'\r\n' || member || E'\r' AS command
FROM (SELECT session_id, {SCORE}::text AS score, {EVENT_JSON} AS member FROM events OFFSET 0) e
"""
FETCH = 2_000
"""Rows that psql reads at a time: the pipe flows from the first on."""
_QUERIES = {"built": _COMMANDS, "ready": "SELECT command FROM ready_made"}


def missing() -> str:
    """Say what has to be installed, or ""."""
    return "" if shutil.which("redis-cli") else "not installed (Debian: apt install redis-tools)"


async def prepare(site: Site) -> None:
    """Write the finished commands into a table."""
    await site.connection.execute(f"CREATE TABLE ready_made AS {_COMMANDS}")
    await site.connection.execute("VACUUM (ANALYZE) ready_made")


async def pipe(site: Site, query: Literal["built", "ready"]) -> None:
    """Fill the peers' Redis by one pipe. Raises BenchError when it fails."""
    redis, database = urlsplit(site.plain_url), urlsplit(site.database_url)
    script = site.directory / f"{query}.sql"
    script.write_text(_QUERIES[query], encoding="utf-8")
    reading = [
        *(str(bundled_programs() / "psql"), "--no-psqlrc", "--tuples-only", "--no-align", "--quiet"),
        *("--set", f"FETCH_COUNT={FETCH}", "--set", "ON_ERROR_STOP=1", "--file", str(script)),
        *(f"--host={database.hostname}", f"--port={database.port}", f"--username={database.username}"),
        database.path.removeprefix("/"),
    ]
    writing = ["redis-cli", "-h", str(redis.hostname), "-p", str(redis.port), "-n", redis.path.removeprefix("/")]
    process = await asyncio.create_subprocess_shell(
        f"set -o pipefail; {shlex.join(reading)} | {shlex.join([*writing, '--pipe'])}",
        executable="/bin/bash",
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PGPASSWORD": database.password or "",
            "REDISCLI_AUTH": redis.password or "",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode or "errors: 0" not in output:
        raise BenchError(f"psql | redis-cli --pipe failed:\n{output}")
