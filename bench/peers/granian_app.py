"""A bare ASGI app under Granian, whose HTTP is written in Rust, that gives fixed bytes. Run as `PORT FILE`.

One worker with the event loop that is fastest there; a thread of Rust beside Python's reads and writes the sockets.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bench.peers.fixed_bytes import FixedBytes
from bench.peers.process import prepare

_FILE = "BENCH_ANSWER_FILE"
_OPTIONS = ("--interface", "asginl", "--loop", "uvloop", "--http", "1", "--no-ws", "--no-log", "--factory")


def missing() -> str:
    """Say what has to be installed, or ""."""
    return "" if find_spec("granian") else "not installed (pip install granian)"


def app() -> FixedBytes:
    """Make the app in Granian's worker, which is prepared as the others are."""
    prepare()
    return FixedBytes(Path(os.environ[_FILE]))


def main() -> None:
    """Become Granian by its own command line, with the file's path in its environment."""
    port, path = sys.argv[1:]
    command = [sys.executable, "-m", "granian", *_OPTIONS, "--port", port, "bench.peers.granian_app:app"]
    os.execve(sys.executable, command, {**os.environ, _FILE: path})


if __name__ == "__main__":
    main()
