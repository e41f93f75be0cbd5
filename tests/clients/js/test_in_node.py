"""readside-client for JavaScript in Node: by itself, and as a program against a real API."""

import asyncio
import json
import os
import re
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any
from uuid import uuid4

from readside.api import opened
from tests.support.builders import READ_KEY, api_config, serving
from tests.support.node import node_program, ran
from tests.support.projecting import bench

HERE = Path(__file__).parent
BIG = '{"n": 12345678901234567890, "price": 1.10}'


async def test_every_case_passes() -> None:
    """Those of the *.test.js files, in one process."""
    said = await ran(node_program(), "--test-reporter=tap", HERE / "all.test.js")

    assert re.search(r"^# fail 0$", said, re.MULTILINE), said


async def test_a_program_warms_polls_follows_and_ends(database_url: str, redis_url: str) -> None:
    """With every digit, the moment an event is committed; nothing that is left keeps it running."""
    async with (
        bench(database_url, redis_url) as stage,
        opened(api_config(database_url, redis_url)) as app,
        serving(app) as url,
    ):
        session_id, stranger = await stage.writer.session(), str(uuid4())
        await stage.writer.event(session_id, message="first", data=BIG)
        process = await asyncio.create_subprocess_exec(
            node_program(), HERE / "program.mjs", url, READ_KEY, session_id, stranger, "3",
            env={"PATH": os.environ["PATH"]}, stdout=PIPE,
        )  # fmt: skip
        assert process.stdout
        try:
            async with asyncio.timeout(60):
                before = [await told(process.stdout) for _ in range(3)]
                await stage.writer.event(session_id, message="second")
                held = await told(process.stdout)
                followed = [await told(process.stdout) for _ in range(2)]
                await stage.writer.event(session_id, message="third")
                followed.append(await told(process.stdout))
                await stage.writer.event(session_id, message="fourth")
                after = [await told(process.stdout) for _ in range(3)]
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    assert before == [{"warm": session_id}, {"poll": [BIG], "total": 1, "fresh": True}, {"again": True}]
    assert held == {"held": 2}
    assert [each["event"] for each in followed] == ["first", "second", "third"]
    assert followed[0]["data"] == BIG
    gone = {"stranger": [True, 404, f"Session not found: {stranger}"]}
    assert after == [{"resumed": "fourth"}, gone, gone]
    assert code == 0


async def told(lines: asyncio.StreamReader) -> Any:
    """What the program prints next."""
    return json.loads(await lines.readline())
