"""Node.js for tests: its program, and what is installed for the JavaScript client."""

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "clients/js"
MISSING = (
    "The JavaScript client's tests need Node.js 18 or newer and npm (Debian: apt-get install nodejs npm), "
    "and what `make clients/js/node_modules/.installed` installs."
)


def node_program(name: str = "node") -> str:
    """Where Node or npm is; fails with the one line that says what to install."""
    program = shutil.which(name)
    if program is None or not (PACKAGE / "node_modules/.installed").exists():
        pytest.fail(MISSING, pytrace=False)
    return program


async def ran(*command: str | Path, at: Path = REPOSITORY, seconds: float = 120) -> str:
    """What a command prints; fails with that where the command does."""
    kept = {
        "PATH": os.environ["PATH"],
        "HOME": str(at),
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
    }
    process = await asyncio.create_subprocess_exec(*command, cwd=at, env=kept, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(seconds):
            said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        pytest.fail(f"{command[0]} failed:\n{said}", pytrace=False)
    return said
