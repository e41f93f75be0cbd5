"""Writers: pgbench commits single events, as fast as it can or at a rate."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.stack import Site, output_of
from bench.table import BenchError
from readside.demo.embedded_postgres import bundled_programs

_SCRIPT = r"""\set session random({first}, {last})
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
SELECT gen_random_uuid(), md5('session ' || :session)::uuid, 'step_created', '{{"attempt": 1}}', 'went on',
       clock_timestamp()
FROM generate_series(1, {events});
"""


@dataclass(frozen=True, slots=True)
class Manner:
    """How writers write: so many events in each commit, commits a second or as many as they can.

    `durable` waits for the disk at each commit (synchronous_commit). Notifying commits wait for one another's disk
    too, so a slow disk bounds the commits of all; where a rate is wanted or the projector is to be pressed, it is off.
    """

    events: int = 1
    per_second: int | None = None
    durable: bool = True


ONE_BY_ONE = Manner()


async def write(
    site: Site, *, writers: int, seconds: int, sessions: tuple[int, int], manner: Manner = ONE_BY_ONE
) -> float:
    """Commit events of the sessions numbered from the one to the other; gives events a second."""
    url, script = urlsplit(site.database_url), site.directory / "writers.sql"
    script.write_text(_SCRIPT.format(first=sessions[0], last=sessions[1], events=manner.events), encoding="utf-8")
    output = await output_of(
        str(bundled_programs() / "pgbench"),
        *("--no-vacuum", "--protocol=prepared", f"--client={writers}", f"--time={seconds}", f"--file={script}"),
        *([f"--rate={manner.per_second}"] if manner.per_second else []),
        *(f"--host={url.hostname}", f"--port={url.port}", f"--username={url.username}", url.path.removeprefix("/")),
        PGPASSWORD=url.password or "",
        PGOPTIONS=f"-c synchronous_commit={'on' if manner.durable else 'off'}",
    )
    rate = re.search(r"tps = ([\d.]+)", output)
    if rate is None:
        raise BenchError(f"pgbench gave no rate:\n{output}")
    return float(rate[1]) * manner.events
