"""A PgBouncer of our own in transaction mode."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from readside.demo.processes import LOOPBACK, free_port
from tests.support.servers import server_directory
from tests.support.waiting import eventually

MISSING = "Poolers are tested with PgBouncer: `make install-tools` (Debian: apt-get install pgbouncer)."
PROGRAM = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin:/sbin")
CONFIGURATION = """
[databases]
* = host={host} port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
"""


@asynccontextmanager
async def pgbouncer(url: str) -> AsyncIterator[str]:
    """The URL of a database through a transaction pooler."""
    if PROGRAM is None:
        pytest.fail(MISSING)
    parts, port = urlsplit(url), free_port()
    with server_directory() as directory:
        configuration = configured(directory, url, port)
        as_root = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "-q", *as_root, str(configuration), stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await eventually(lambda: accepts(port), "PgBouncer accepts connections")
            yield url.replace(f":{parts.port}/", f":{port}/", 1)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def configured(directory: Path, url: str, port: int) -> Path:
    """Write the configuration that leads from a port to the server of a URL."""
    parts, path = urlsplit(url), directory / "pgbouncer.ini"
    path.write_text(
        CONFIGURATION.format(
            host=LOOPBACK, server_port=parts.port, user=parts.username, password=parts.password, port=port
        )
    )
    return path


async def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
