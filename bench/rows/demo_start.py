"""How long `readside demo` takes to its first line, and to its first value: a poll that shows an event."""

import asyncio
import sys
import time
from tempfile import TemporaryDirectory

from bench.stack import ROOT, Servers
from bench.table import BenchError, Figure, Measurement, Row, Target
from readside.demo.processes import free_port
from readside.settings import child_environment

NAME = "demo-start"
ROUNDS = 5
START_SECONDS = 120.0
_FIRST_VALUE = "First value:"


async def measure(servers: Servers) -> Measurement:
    """Start it some times, one after the other, each with nothing of the last."""
    rounds = [await _start() for _ in range(servers.choices.rounds or ROUNDS)]
    lines, values = zip(*rounds, strict=True)
    return Measurement(
        [
            Row("demo: to the first line", Figure(lines, "s"), target=Target(1.0, at_most=True, unit="s")),
            Row("demo: to the first value", Figure(values, "s"), target=Target(15.0, at_most=True, unit="s")),
        ]
    )


async def _start() -> tuple[float, float]:
    """Seconds to the first line, and to the first value."""
    began = time.perf_counter()
    with TemporaryDirectory(prefix="readside-bench-") as directory:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "readside", "demo", "--once", "--port", str(free_port())),
            env=child_environment({}) | {"TMPDIR": directory},
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                await process.stdout.readline()
                first = time.perf_counter() - began
                async for line in process.stdout:
                    if _FIRST_VALUE in line.decode():
                        return first, time.perf_counter() - began
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()
    raise BenchError("The demo ended before its first value.")
