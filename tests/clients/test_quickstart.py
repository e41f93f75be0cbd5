"""The quickstart's Python, run as it stands there against a real API."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from projector.tail.triggers import install
from readside.api import opened
from tests.support.builders import READ_KEY, api_config, serving
from tests.support.projecting import Writer
from tests.support.servers import connected

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "specs" / "guides" / "python.md"


def program() -> str:
    """The first block of Python."""
    found = re.search(r"^```python\n(.*?)^```", QUICKSTART.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return found.group(1)


async def test_it_prints_each_event_as_it_comes(database_url: str, redis_url: str) -> None:
    """Those there already, then a new one."""
    async with (
        opened(api_config(database_url, redis_url)) as app,
        serving(app) as url,
        connected(database_url) as connection,
    ):
        await install(connection, warn=pytest.fail)
        writer = Writer(connection)
        session_id = await writer.session()
        await writer.event(session_id, message="the first", timestamp="2026-01-13T14:30:00Z")
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", program(), url, READ_KEY, session_id],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "clients" / "python" / "src")},
            stdout=PIPE,
        )
        assert process.stdout
        try:
            async with asyncio.timeout(90):
                first = await process.stdout.readline()
                await writer.event(session_id, message="the second", timestamp="2026-01-13T14:30:01Z")
                second = await process.stdout.readline()
        finally:
            process.kill()
            await process.wait()

    assert first.decode() == "2026-01-13T14:30:00.000000Z step_created the first\n"
    assert second.decode() == "2026-01-13T14:30:01.000000Z step_created the second\n"
