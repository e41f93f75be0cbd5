"""Many simulations, in processes of their own, so that a seed means the same every time and two cores share the work.

python -m tests.model.runs 4000 [first_seed] [--real]
python -m tests.model.runs --find writes down which seed finds each planted bug
"""

import argparse
import faulthandler
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple
from unittest import mock

import fakeredis
import redis

from tests.fakes.redis import fake_server
from tests.model.oracle import Wrong
from tests.model.plants import PLANTS
from tests.model.simulation import NODES, simulate
from tests.support.servers import running_redis

WORKERS = 2
PLANTED_RUNS = 60
"""A planted bug is found within so many runs; the rarest takes dozens."""
FOUND = Path(__file__).parent / "found.json"
"""By planted bug the seed that last found it, which is tried first: where it no longer does, all are."""
RUN_SECONDS = 150.0
"""A run takes a few; one that takes so long hangs: its worker says where, and ends."""
SOCKET = "socket"
"""Where a Redis listens in its directory: thousands of short calls cost less there than through TCP."""


class Run(NamedTuple):
    """What one seed gave: how many answers came from where and which faults struck, and what was wrong, if anything."""

    seed: int
    counts: Counter[str]
    wrong: str | None


def run(seed: int, plant: str | None = None, redis_urls: Sequence[str] = ()) -> Run:
    """Run one seed, with a planted bug if one is named, over the real Redis of this worker if there are any."""
    bug = PLANTS[plant] if plant else None
    connect = partial(_real, _own(redis_urls)) if redis_urls else _fake
    faulthandler.dump_traceback_later(RUN_SECONDS, exit=True, file=_hangs[-1])
    try:
        counts = simulate(seed, connect, bug, bug.under if bug else (), real=bool(redis_urls))
    except Wrong as wrong:
        return Run(seed, Counter(), str(wrong))
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Run(seed, counts, None)


def first_wrong(seeds: Iterable[int], plant: str, redis_urls: Sequence[str]) -> Run | None:
    """Run seeds one after the other until an answer is wrong; give that run, if there is one."""
    runs = (run(seed, plant, redis_urls) for seed in seeds)
    return next((one for one in runs if one.wrong is not None), None)


def _fake(_node: int) -> redis.Redis:
    return fakeredis.FakeRedis(server=fake_server())


def _real(urls: Sequence[str], node: int) -> redis.Redis:
    return redis.Redis.from_url(urls[node])


def _own(urls: Sequence[str]) -> Sequence[str]:
    """This worker's part of the servers: the pool's workers are numbered from 1 on."""
    place = (multiprocessing.current_process()._identity[0] - 1) % WORKERS
    return urls[place * NODES : (place + 1) * NODES]


_hangs = [2]


def _tell_hangs(path: str) -> None:
    """Have a run that hangs say where in this file: what a worker's own output was may be another test's by then."""
    _hangs.append(os.open(path, os.O_WRONLY | os.O_APPEND))


class Runs:
    """Runs seeds on every worker of a pool."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def of(self, seeds: Iterable[int], plant: str | None = None, redis_urls: Sequence[str] = ()) -> Iterator[Run]:
        """Run seeds, a few ahead of whoever takes what they gave, in the order in which they end."""
        ahead: set[Future[Run]] = set()
        for seed in seeds:
            ahead.add(self._pool.submit(run, seed, plant, redis_urls))
            if len(ahead) > WORKERS:
                done, ahead = wait(ahead, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        yield from (one.result() for one in ahead)

    def search(self, seeds: Iterable[int], plant: str, redis_urls: Sequence[str]) -> Future[Run | None]:
        """Have one worker look for a planted bug, so that the others look for other ones meanwhile."""
        return self._pool.submit(first_wrong, seeds, plant, redis_urls)


def seeds_for(plant: str) -> list[int]:
    """The seeds by which a planted bug is looked for."""
    found: dict[str, int] = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    return [*([found[plant]] if plant in found else []), *range(PLANTED_RUNS)]


def find_all() -> None:
    """Write down which seed finds each planted bug."""
    with running() as runs, real_redises() as urls:
        searches = {plant: runs.search(seeds_for(plant), plant, urls) for plant in PLANTS}
        found = {plant: run.seed for plant, search in searches.items() if (run := search.result())}
    FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@contextmanager
def running() -> Iterator[Runs]:
    """Start workers whose sets of strings have one order only: forks of a Python of their own, which imports once."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    with mock.patch.dict(os.environ, {"PYTHONHASHSEED": "0"}), NamedTemporaryFile("r", encoding="utf-8") as hangs:
        pool = ProcessPoolExecutor(WORKERS, forking, _tell_hangs, (hangs.name,))
        try:
            yield Runs(pool)
        finally:
            pool.shutdown(cancel_futures=True)
            sys.stderr.write(hangs.read())


@contextmanager
def real_redises() -> Iterator[list[str]]:
    """Start a Redis for each worker and node: a flush, and what is published, reach all databases of a server."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running_redis("--unixsocket", SOCKET)) for _ in range(WORKERS * NODES)]
        yield [f"unix://:{server.password}@{server.directory / SOCKET}" for server in servers]


def main() -> int:
    """Run many seeds and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=100)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("--real", action="store_true", help="over a real Redis")
    parser.add_argument("--plant", choices=list(PLANTS), help="with a bug")
    parser.add_argument("--find", action="store_true", help="write down which seed finds each bug")
    given = parser.parse_args()
    if given.find:
        find_all()
        return 0
    counts: Counter[str] = Counter()
    wrong = []
    with ExitStack() as stack:
        urls = stack.enter_context(real_redises()) if given.real else []
        runs = stack.enter_context(running())
        for one in runs.of(range(given.first, given.first + given.runs), given.plant, urls):
            counts += one.counts
            if one.wrong:
                wrong.append(one.seed)
                sys.stdout.write(f"seed {one.seed}: {one.wrong}\n")
    sys.stdout.write(f"{given.runs} runs, {dict(counts)}, wrong {len(wrong)}\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
