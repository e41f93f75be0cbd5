"""An nginx of our own, with the settings of a document's example."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from readside.demo.processes import LOOPBACK, free_port
from tests.support.pgbouncers import accepts
from tests.support.servers import server_directory
from tests.support.waiting import eventually

MISSING = "The way over is tested with nginx: `make install-tools` (Debian: apt-get install nginx)."
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{example}
}}
"""


@asynccontextmanager
async def nginx(example: str, listen: str) -> AsyncIterator[str]:
    """The URL of nginx under an example of what stands in `http`; `listen` is the line of its port."""
    if PROGRAM is None:
        pytest.fail(MISSING)
    port = free_port()
    assert listen in example
    moved = example.replace(listen, f"listen {LOOPBACK}:{port};")
    with server_directory() as directory:
        path = directory / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        path.write_text(CONFIGURATION.format(user=user, directory=directory, example=moved))
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "-p", str(directory), "-c", str(path), "-e", str(directory / "error.log")
        )
        try:
            await eventually(lambda: accepts(port), "nginx listens")
            yield f"http://{LOOPBACK}:{port}"
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
