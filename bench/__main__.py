"""Measure and print: `python -m bench`, or with any of polls, cold, latency, writers, rebuild, memory after it."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from bench import cold, latency, memory, polls, rebuild, writers
from bench.load import generator_name
from bench.machine import Machine, busy_share, describe
from bench.stack import ROOT, Servers, running_servers
from bench.table import BenchError, Row, markdown, put_between_markers, write_json
from readmodel.errors import ReadsideError

MEASUREMENTS: dict[str, Callable[[Servers], Awaitable[list[Row]]]] = {
    module.NAME: module.measure for module in (polls, cold, latency, writers, rebuild, memory)
}
README = ROOT / "README.md"
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure what is asked; exit 2 with one line when something cannot be measured."""
    options = _options()
    share = busy_share()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows, machine = runner.run(_measure(options.measurements or list(MEASUREMENTS), options.machine, share))
        table = markdown(rows, machine)
        sys.stdout.write(table)
        if options.markdown:
            options.markdown.write_text(table)
        if options.readme:
            README.write_text(put_between_markers(README.read_text(), table))
    except (BenchError, ReadsideError, OSError) as error:
        sys.exit(f"bench: {error}")  # a group of them is a fault of ours, and shows its trace
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


async def _measure(names: Sequence[str], machine_name: str | None, share: float | None) -> tuple[list[Row], Machine]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    rows: list[Row] = []
    async with running_servers() as servers:
        postgres, redis = await servers.versions()
        machine = describe(
            name=machine_name, postgres=postgres, redis=redis, load_generator=generator_name(), busy_share=share
        )
        for name in names:
            began = time.monotonic()
            print(f"{name} …", file=sys.stderr, end=" ", flush=True)
            found = await MEASUREMENTS[name](servers)
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
            write_json(RESULTS / f"{name}.json", found, machine)
            rows += found
    return rows, machine


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure readside on servers of its own.")
    parser.add_argument(
        "measurements", nargs="*", metavar="|".join(MEASUREMENTS), help="what to measure (default: all)"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file too")
    parser.add_argument("--readme", action="store_true", help="put the table between README.md's bench markers")
    parser.add_argument("--machine", metavar="NAME", help="the machine's name in the caption (default: its host name)")
    options = parser.parse_args()
    unknown = [name for name in options.measurements if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown measurement {unknown[0]}; there are {', '.join(MEASUREMENTS)}")
    return options


if __name__ == "__main__":
    main()
