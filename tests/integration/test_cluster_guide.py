"""The guide from one Redis to a cluster: its configuration, access list and command make one that is well."""

import asyncio
import os
import re
import shutil
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from readside.demo.processes import LOOPBACK
from readside.inspection.findings import Finding
from readside.inspection.of_redis import of_redis
from readside.settings import Settings
from tests.support.servers import embedded_redis, server_directory
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "specs/operate/cluster.md").read_text()
USERS = ROOT / "deploy/development/redis-cluster-users.acl"


def options() -> list[str]:
    """The guide's configuration of a node as a command line, with the access list where it is here."""
    (configuration,) = re.findall(r"```conf\n(.*?)```", GUIDE, re.DOTALL)
    given = [line.split(" ", 1) for line in configuration.splitlines()]
    return [
        word for name, value in given for word in (f"--{name}", str(USERS) if name == "aclfile" else value.strip('"'))
    ]


def commands() -> str:
    """The guide's commands that make the cluster."""
    (script,) = re.findall(r"```sh\n((?:(?!```).)*--cluster create.*?)```", GUIDE, re.DOTALL)
    return str(script)


async def test_the_doctor_is_content_with_the_guides_cluster() -> None:
    """Three masters with a replica each; no view is there yet."""
    if shutil.which("redis-cli") is None:
        pytest.fail("Clusters are made by redis-cli: `make install-tools`.", pytrace=False)
    async with AsyncExitStack() as stack:
        directories = [stack.enter_context(server_directory()) for _ in range(6)]
        nodes = [embedded_redis(each, *options(), "--dir", str(each)) for each in directories]
        await asyncio.gather(*(stack.enter_async_context(node) for node in nodes))
        places = [f"{LOOPBACK}:{node.port}" for node in nodes]
        environment = {**os.environ, "NODES": " ".join(places)}
        made = ["sh", "-ec", commands()]
        await asyncio.to_thread(subprocess.run, made, env=environment, capture_output=True, check=True, timeout=60)
        url = f"redis+cluster://readside-projector:development-projector@{places[0]},{places[4]}"
        found: dict[str, Finding] = {}

        async def is_well() -> bool:
            """The nodes tell each other within a second or two."""
            found.update({one.check: one for one in (await of_redis(Settings(redis_url=url, slices=32))).findings})
            return {one.state for check, one in found.items() if check != "view"} == {"ok"}

        await eventually(is_well, "all is well but for the view")
        assert found["Redis"].detail.startswith("a cluster of 3 masters")
        assert "No projector leads" in found["view"].detail
