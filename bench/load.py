"""Many clients at once: `wrk` where it is installed, else a client in Python, which then is the bottleneck."""

import asyncio
import re
import shutil
import tempfile
import time
from dataclasses import dataclass

from bench.polling_client import PollingClient
from bench.stack import API_KEY, output_of
from bench.table import BenchError
from readside.demo.processes import LOOPBACK

HEADERS = {"X-API-Key": API_KEY}
COUNTER = "{n}"
"""Stands in a target for six digits that no two polls of a million share."""
_COUNTING = """
local n, path = 0, "%s"
request = function()
  n = (n + 1) %% 1000000
  return wrk.format("GET", (string.gsub(path, "{n}", string.format("%%06d", n))))
end
"""
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What a crowd of clients saw in one round."""

    polls_per_second: float
    p50_ms: float
    p99_ms: float


def generator_name() -> str:
    """Name what makes the load, honestly."""
    if shutil.which("wrk"):
        return "load by wrk (one thread)"
    return "load by a client in Python, since wrk is not installed (Debian: apt install wrk): it is the bottleneck"


async def crowd(port: int, target: str, *, clients: int, seconds: float) -> Load:
    """Let clients poll back to back, each on its own connection. Raises BenchError when any answer is not 200."""
    if shutil.which("wrk"):
        return await _wrk(port, target, clients, seconds)
    return await _in_python(port, target, clients, seconds)


async def _wrk(port: int, target: str, clients: int, seconds: float) -> Load:
    options = ["-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "--timeout", "10s"]
    fields = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if COUNTER in target:
            script.write(_COUNTING % target)
            script.flush()
            options += ["--script", script.name]
        return parse_wrk(await output_of("wrk", *options, *fields, f"http://{LOOPBACK}:{port}{target}"))


def parse_wrk(output: str) -> Load:
    """Read what wrk prints. Raises BenchError when it tells of errors, or of nothing."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    shares = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+\w+)", output, re.MULTILINE))
    if rate is None or len(shares) != 2 or re.search(r"Non-2xx|Socket errors", output):
        raise BenchError(f"wrk did not get clean answers:\n{output}")
    return Load(float(rate[1]), _milliseconds(shares["50"]), _milliseconds(shares["99"]))


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]


async def _in_python(port: int, target: str, clients: int, seconds: float) -> Load:
    latencies: list[float] = []
    ends_at = time.perf_counter() + seconds

    async def poll() -> None:
        async with PollingClient.open(LOOPBACK, port) as client:
            while (sent_at := time.perf_counter()) < ends_at:
                answer = await client.get(target.replace(COUNTER, f"{len(latencies) % 1_000_000:06}"), HEADERS)
                if answer.status != 200:
                    raise BenchError(f"{target} was answered {answer.status}: {answer.body[:200]!r}")
                latencies.append((time.perf_counter() - sent_at) * 1000)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(poll())
    return Load(len(latencies) / seconds, percentile(latencies, 50), percentile(latencies, 99))


def percentile(values: list[float], share: float) -> float:
    """Give the value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]
