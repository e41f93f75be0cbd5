"""Users of a Redis who may do what `readmodel/view/rights.py` says, and no more."""

import secrets
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from readmodel.view.rights import Program, rules


async def restricted(redis_url: str, program: Program, prefix: str = "readside", without: str = "") -> str:
    """Make a user for a program; give the URL with it. `without` takes one command away again."""
    password = secrets.token_hex(16)
    taken = [f"-{without}"] if without else []
    redis: Any
    async with Redis.from_url(redis_url) as redis:
        await redis.execute_command("ACL", "SETUSER", name(program), "reset", "on", f">{password}")
        await redis.execute_command("ACL", "SETUSER", name(program), *rules(program, prefix), *taken)
    place = urlsplit(redis_url).netloc.rpartition("@")[2]
    return f"redis://{name(program)}:{password}@{place}{urlsplit(redis_url).path}"


def name(program: Program) -> str:
    """The user of a program."""
    return f"readside-{program}"


async def refusals(redis_url: str) -> list[str]:
    """What Redis' log of its access list holds: `reason object`, of our users."""
    redis: Any
    async with Redis.from_url(redis_url) as redis:
        entries = await redis.execute_command("ACL", "LOG")
    said = [{text(key): text(value) for key, value in dict(entry).items()} for entry in entries]
    return [f"{entry['reason']} {entry['object']}" for entry in said if entry["username"].startswith("readside-")]


def text(value: object) -> str:
    """Text of what Redis sends."""
    return value.decode() if isinstance(value, bytes) else str(value)
