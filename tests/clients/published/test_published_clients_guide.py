"""The guide to the published clients: both programs, run as they stand there against a real API."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from readside.api import opened
from tests.support.builders import READ_KEY, api_config, serving
from tests.support.followers import PUBLISHED, node_program
from tests.support.projecting import bench
from tests.support.waiting import eventually

GUIDE = (Path(__file__).parents[3] / "specs/guides/published-clients.md").read_text()


def command(language: str) -> list[str]:
    """The command that runs the guide's program in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found
    if language == "python":
        return [sys.executable, "-c", found[1]]
    return [node_program(), "--input-type=module", "--eval", found[1], "--"]


@asynccontextmanager
async def printing(language: str, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """What the program prints; it is killed in the end."""
    process = await asyncio.create_subprocess_exec(
        *command(language), *arguments, env={"PATH": os.environ["PATH"]}, cwd=PUBLISHED, stdout=PIPE
    )
    assert process.stdout
    try:
        async with asyncio.timeout(90):
            yield process.stdout
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("language", ["js", "python"])
async def test_it_prints_each_event_and_goes_on_where_it_was(
    database_url: str, redis_url: str, tmp_path: Path, language: str
) -> None:
    """The first one; killed and started again, the second alone."""
    place = tmp_path / "place"
    async with (
        bench(database_url, redis_url) as stage,
        opened(api_config(database_url, redis_url)) as app,
        serving(app) as url,
    ):
        writer = stage.writer
        session_id = await writer.session()
        await writer.event(session_id, message="the first", timestamp="2026-01-13T14:30:00Z")
        async with printing(language, url, READ_KEY, session_id, str(place)) as lines:
            first = await lines.readline()
            await eventually(lambda: place.exists() and place.read_text(), "it remembers where it is")
        await writer.event(session_id, message="the second", timestamp="2026-01-13T14:30:01Z")
        async with printing(language, url, READ_KEY, session_id, str(place)) as lines:
            second = await lines.readline()

    assert first.decode() == "2026-01-13T14:30:00.000000Z step_created the first\n"
    assert second.decode() == "2026-01-13T14:30:01.000000Z step_created the second\n"
