"""A Redis server under a locale in which bytes have another order: pages of several types are right all the same."""

import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from readmodel.redis.client import connect
from readmodel.values.poll import Poll
from readside.demo.embedded_redis import EmbeddedRedis, find_program
from readside.demo.processes import Child, spawn
from tests.support.servers import program_from_environment, server_directory
from tests.support.viewing import Stage, event, expected

SID = "11111111-1111-4111-8111-111111111111"
NOON = 1_768_314_600_000_000
LOCALE = "en_US.UTF-8"


class LocalRedis(EmbeddedRedis):
    """A Redis that people of one language started; where the locale cannot be made, it is Redis' usual one."""

    def _launch(self) -> Child:
        program = program_from_environment("READSIDE_TEST_REDIS_SERVER") or find_program()
        return spawn(
            self.name,
            [str(program.absolute()), str(self._configuration), "--port", str(self.port)],
            log=self.log,
            environment={"PATH": os.defpath, "LOCPATH": str(self.directory), "LC_ALL": LOCALE},
            directory=self.directory,
        )


def make_locale(directory: Path) -> None:
    """Compile the locale, where the machine has its sources."""
    if program := shutil.which("localedef"):
        subprocess.run(
            [program, "-i", "en_US", "-f", "UTF-8", str(directory / LOCALE)], check=False, capture_output=True
        )


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A view there whose as-of is noon."""
    with server_directory() as directory:
        server = LocalRedis(directory)
        make_locale(server.directory)
        await server.start()
        redis = connect(server.url(), name="test")
        made = Stage(redis)
        await made.begin()
        await made.apply(as_of_us=NOON)
        yield made
        await redis.aclose()
        await server.stop()


@pytest.mark.parametrize("instants", [3, 1_000_000])
async def test_several_types_are_merged_by_bytes(stage: Stage, instants: int) -> None:
    """Whatever the ids, the timestamps and the number of types; Lua's own order of strings would be the locale's."""
    rng = random.Random(instants)
    names = ["step_created", "step_completed", "artifact_created", "one_more", "and_another"]
    events = [event(SID, NOON + rng.randrange(instants), rng.choice(names)) for _ in range(600)]
    await stage.put(SID, events)
    for count in range(2, len(names) + 1):
        for page in (1, 2, 5):
            poll = Poll(SID, types=tuple(names[:count]), limit=50, page=page)

            assert await stage.page(SID, types=poll.types, limit=50, page=page) == expected(events, poll)
