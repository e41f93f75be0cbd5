"""Measure and print: `python -m bench`, or with names of measurements after it (`--list` has them)."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.archive import MeasurementRecord, draw, keep, kept, page_charts, summary, write_summary
from bench.catalogue import DESCRIPTIONS, MEASUREMENTS, WITHOUT_CROWDS, chosen
from bench.load import generator_name
from bench.machine import busy_share, describe
from bench.peers import nginx
from bench.stack import ROOT, Choices, running_servers
from bench.table import BenchError, markdown, put_between_markers
from readmodel.errors import ServiceError

PAGE = ROOT / "specs" / "benchmarks.md"


def main() -> None:
    """Measure what is asked; exit 2 with one line when something cannot be measured."""
    options = _options()
    if options.list:
        sys.stdout.write("".join(f"{name:18} {text}\n" for name, text in DESCRIPTIONS.items()))
        return
    try:
        if not options.draw:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_measure(chosen(options.measurements, options.base), options))
        if options.dry:
            return
        everything = kept(list(MEASUREMENTS))
        draw(everything)
        write_summary(everything)
        sys.stdout.write(summary(kept(options.measurements) or everything))
        if options.page:
            PAGE.write_text(
                put_between_markers(PAGE.read_text(encoding="utf-8"), f"{page_charts()}\n\n{summary(everything)}"),
                encoding="utf-8",
            )
    except (BenchError, ServiceError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)  # a group of them is a fault of ours, and shows its trace
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


async def _measure(names: Sequence[str], options: argparse.Namespace) -> None:
    """Measure one after the other on the same servers; each is kept, or only shown, as soon as it is done."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    polls = any(name not in WITHOUT_CROWDS for name in names)
    generator = generator_name(polls=polls)
    if polls and (absent := nginx.missing_for_lua()):
        print(f"nginx with Lua is {absent}; the table will say so.", file=sys.stderr)
    choices = Choices(options.seconds, options.rounds, options.base, options.postgres)
    async with running_servers(choices) as servers:
        postgres, redis = await servers.versions()
        for name in names:
            began = time.monotonic()
            print(f"{name} …", file=sys.stderr, end=" ", flush=True)
            busy = await asyncio.to_thread(busy_share)
            measurement = await MEASUREMENTS[name](servers)
            machine = describe(
                name=options.machine,
                postgres=postgres,
                redis=redis,
                load_generator=generator,
                busy_share=_busier(busy, await asyncio.to_thread(busy_share)),
            )
            print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
            if options.dry:
                sys.stdout.write(markdown(measurement.rows, machine.caption()))
            else:
                keep(MeasurementRecord(name, machine, measurement))


def _busier(before: float | None, after: float | None) -> float | None:
    return max((share for share in (before, after) if share is not None), default=None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure readside on servers of its own.")
    parser.add_argument("measurements", nargs="*", metavar="NAME", help="what to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="list the measurements and end")
    parser.add_argument("--draw", action="store_true", help="measure nothing; write tables and charts of what was kept")
    parser.add_argument(
        "--page", action="store_true", help="put table and charts between the marks of specs/benchmarks.md"
    )
    parser.add_argument("--dry", action="store_true", help="print what was measured; keep nothing")
    parser.add_argument(
        "--seconds", type=int, metavar="N", help="how long each round lasts, where a row does not set it"
    )
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="how many rounds there are, where a row does not set it"
    )
    parser.add_argument("--base", metavar="REVISION", help="an earlier version to measure beside, in turns")
    parser.add_argument("--postgres", type=Path, metavar="DIRECTORY", help="another PostgreSQL's initdb and postgres")
    parser.add_argument("--machine", metavar="NAME", help="the machine's name in the caption (default: its host name)")
    options = parser.parse_args()
    unknown = [name for name in options.measurements if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown measurement {unknown[0]}; there are {', '.join(MEASUREMENTS)}")
    if any(number is not None and number < 1 for number in (options.seconds, options.rounds)):
        parser.error("--seconds and --rounds must be 1 or more")
    return options


if __name__ == "__main__":
    main()
