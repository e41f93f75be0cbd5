"""Writers: pgbench commits single events, as fast as it can or at a rate."""

import re
from urllib.parse import urlsplit

from bench.stack import Site, output_of
from bench.table import BenchError
from readside.demo.embedded_postgres import bundled_programs

_SCRIPT = r"""\set session random(%d, %d)
INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
VALUES (gen_random_uuid(), md5('session ' || :session)::uuid, 'step_created', '{"attempt": 1}', 'went on',
        clock_timestamp());
"""


async def write(
    site: Site, *, writers: int, seconds: int, sessions: tuple[int, int], per_second: int | None = None
) -> float:
    """Commit events of the sessions numbered from the one to the other; gives commits a second."""
    url, script = urlsplit(site.database_url), site.directory / "writers.sql"
    script.write_text(_SCRIPT % sessions)
    output = await output_of(
        str(bundled_programs() / "pgbench"),
        *("--no-vacuum", "--protocol=prepared", f"--client={writers}", f"--time={seconds}", f"--file={script}"),
        *([f"--rate={per_second}"] if per_second else []),
        *(f"--host={url.hostname}", f"--port={url.port}", f"--username={url.username}", url.path.removeprefix("/")),
        PGPASSWORD=url.password or "",
    )
    rate = re.search(r"tps = ([\d.]+)", output)
    if rate is None:
        raise BenchError(f"pgbench gave no rate:\n{output}")
    return float(rate[1])
