"""Many clients at once, by `wrk`: a client in Python would be the bottleneck."""

import os
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from bench.stack import API_KEY, output_of
from bench.table import BenchError
from readside.demo.processes import LOOPBACK

HEADERS = {"X-API-Key": API_KEY}
COUNTER = "{n}"
"""Stands in a target for six digits that no two polls of half a million share."""
THREADS = min(2, os.cpu_count() or 1)
"""Of wrk's. One alone is all but fully busy beside the quickest servers; each figure tells how busy they were."""
_SCRIPT = """
local method, targets, requests, threads = %s, {%s}, {}, 0
function setup(thread)
  thread:set("n", threads * 500000 + %d)
  threads = threads + 1
end
init = function()
  for place, target in ipairs(targets) do
    if not string.find(target, "{n}", 1, true) then requests[place] = wrk.format(method, target) end
  end
end
request = function()
  n = n + 1
  local place = n %% #targets + 1
  if requests[place] then return requests[place] end
  return wrk.format(method, (string.gsub(targets[place], "{n}", string.format("%%06d", n %% 1000000))))
end
"""
_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Round:
    """One round: how fast a crowd of clients was answered, and what part of its threads' time the crowd itself took."""

    polls_per_second: float
    p50_ms: float
    p99_ms: float
    generator_share: float = 0.0


def generator_name(*, polls: bool) -> str:
    """Name what makes the load. Raises BenchError when `polls` are wanted and what makes them is not installed."""
    if shutil.which("wrk"):
        return f"load by wrk (threads: {THREADS}) and pgbench"
    if polls:
        raise BenchError("wrk makes the load and is not installed (Debian: apt install wrk).")
    return "load by pgbench"


async def crowd(
    port: int,
    targets: Sequence[str],
    *,
    clients: int,
    seconds: int,
    method: str = "GET",
    headers: Mapping[str, str] = HEADERS,
) -> Round:
    """Let clients ask for the targets in turn, back to back, each on its own connection.

    Raises BenchError when any answer is not of status 2xx or 3xx.
    """
    options = [f"-t{THREADS}", f"-c{clients}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".lua") as file:
        # What an earlier round asked may be remembered still: each begins at a number of its own.
        if text := script(targets, method, random.randrange(500_000)):
            file.write(text)
            file.flush()
            options += ["--script", file.name]
        used, began = _children_seconds(), time.perf_counter()
        output = await wrk(*options, f"http://{LOOPBACK}:{port}{targets[0]}", headers=headers)
        share = (_children_seconds() - used) / (time.perf_counter() - began) / THREADS
    return replace(parse_wrk(output), generator_share=share)


def script(targets: Sequence[str], method: str, first: int = 0) -> str:
    """Write wrk's script, or "" where it needs none: GETs of one target are made once and for all.

    COUNTER begins at `first`, 0 to 499,999.
    """
    if method == "GET" and len(targets) == 1 and COUNTER not in targets[0]:
        return ""
    quoted = [orjson.dumps(text).decode() for text in (method, *targets)]
    return _SCRIPT % (quoted[0], ",".join(quoted[1:]), first)


async def wrk(*arguments: str, headers: Mapping[str, str] = HEADERS) -> str:
    """Run wrk with these header fields, the key's by default; gives what it prints."""
    fields = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return await output_of("wrk", *fields, *arguments)


def parse_wrk(output: str) -> Round:
    """Read what wrk prints. Raises BenchError when it tells of errors, or of nothing."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    shares = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+\w+)", output, re.MULTILINE))
    if rate is None or len(shares) != 2 or re.search(r"Non-2xx|Socket errors", output):
        raise BenchError(f"wrk did not get clean answers:\n{output}")
    return Round(float(rate[1]), _milliseconds(shares["50"]), _milliseconds(shares["99"]))


def _children_seconds() -> float:
    """Processor time of the programs that were run to their end: between two calls, that of one wrk."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]
