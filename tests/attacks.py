"""Attacks on a real API for long, one process each: `python -m tests.attacks [--seconds S] [NAME…]`.

Prints by how much each made the process grow, and the slowest poll of another client meanwhile. It is no part of
`make test`, which has the same attacks for a short while.
"""

import argparse
import asyncio
from collections.abc import Sequence

from tests.support.attackers import ATTACKS
from tests.support.servers import fresh_database, make_template, running_postgres, running_redis
from tests.support.sieges import besieged


async def attack(names: Sequence[str], seconds: float) -> None:
    """Strike with these, each at a fresh process."""
    print(f"{'attack':34}{'gained MB':>10}{'left MB':>9}{'slowest poll s':>16}{'polls':>8}{'failed':>8}  connections")
    with running_postgres() as postgres, running_redis() as redis:
        await make_template(postgres)
        for name in names:
            async with fresh_database(postgres) as url, besieged(url, redis.url()) as api:
                seen = await api.under(name, seconds)
            print(
                f"{name:34}{seen.gained_mb:10.1f}{seen.left_mb:9.1f}{seen.slowest_seconds:16.3f}"
                f"{seen.polls:8}{seen.failed:8}  {seen.told}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    asyncio.run(attack(options.names or list(ATTACKS), options.seconds))
