"""Follows documents to the letter: `python -m tests.docs.follow`, or `make follow`.

The commands of README and tutorial are read out of them, and run in a clean clone of what is committed. Each document
has one shell, with nothing of this machine's environment but its PATH. The servers are real. A comment above a sample
says what is particular about it:

- none: the commands run, and must succeed;
- `yours`: the variables are the reader's own; here they are those of our servers;
- `stays`: the command runs until the document ends;
- `may fail`: its exit code tells something, and is no failure;
- `answer`: the last command has printed exactly this; `alike`: JSON with the same fields;
- `long`: is run with `--long` alone; `not`: needs what only the reader has.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from readside.demo.embedded_postgres import bundled_programs
from tests.docs.samples import ROOT, Sample, samples
from tests.support.servers import running_postgres, running_redis

DOCUMENTS = ("README.md", "specs/start/tutorial.md")
STARTS_WITHIN_SECONDS = 900.0
"""For a command that stays: `make demo` also installs all that it needs."""
READY = "Ctrl-C ends everything"
_DONE = "followed:"


class StrayError(Exception):
    """A document said something else than what happened. Its message says where, and what."""


def shown_variables(text: str) -> list[str]:
    """Return the names that a sample exports, in their order."""
    return re.findall(r"^export (\w+)=", text, re.MULTILINE)


def alike(one: object, other: object) -> bool:
    """Say whether two JSON values have the same fields. null is like anything, and so is what is in `event_data`."""
    if one is None or other is None:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(name == "event_data" or alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return all(alike(a, b) for a in one for b in other)
    return type(one) is type(other)


def of_the_demo(output: str) -> dict[str, str]:
    """Return what README's reader copies from `make demo`."""
    key, session = re.search(r"API key +(\S+)", output), re.search(r"/sessions/([0-9a-f-]{36})/events", output)
    return {"KEY": key[1], "SESSION": session[1]} if key and session else {}


class Shell:
    """One bash, which runs one sample after the other, as a reader's terminal does."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-e"],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, commands: str, *, may_fail: bool = False) -> str:
        """Run commands and return what they print. StrayError if one fails, unless it may."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if may_fail:
            commands = f"set +e\n{commands}\nset -e"
        self._process.stdin.write(f"{commands}\necho; echo {_DONE}\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            if line.rstrip() == _DONE:
                return "".join(printed).removesuffix("\n")
            printed.append(line)
        raise StrayError(f"it ended with exit code {self._process.wait()}")

    def end(self) -> None:
        """End it, and whatever it left."""
        _signal(self._process, signal.SIGTERM)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@dataclass(slots=True)
class Walk:
    """One document as it is followed. `values` are those of the reader's variables."""

    directory: Path
    environment: Mapping[str, str]
    values: dict[str, str]
    long: bool
    say: Callable[[str], None]
    _left: ExitStack = field(default_factory=ExitStack)

    def follow(self, document: str) -> None:
        """Run every sample of a document. StrayError, with the line, where something else happens than what it says."""
        shell = Shell(self.directory, self.environment)
        printed = ""
        with self._left:
            self._left.callback(shell.end)
            for sample in samples((self.directory / document).read_text()):
                try:
                    printed = self._take(sample, shell, printed)
                except StrayError as stray:
                    raise StrayError(f"{document}:{sample.line}: {stray}\n{sample.text}") from None

    def _take(self, sample: Sample, shell: Shell, printed: str) -> str:
        """Do what a sample asks; return what was printed last."""
        if sample.mark in {"answer", "alike"}:
            _compare(sample, printed)
            self.say(f"    … answered as it is written ({sample.mark})")
        elif sample.language != "sh" or sample.mark == "not" or (sample.mark == "long" and not self.long):
            return printed
        elif sample.mark == "yours":
            shell.run(
                "\n".join(f"export {name}={shlex.quote(self._value(name))}" for name in shown_variables(sample.text))
            )
        elif sample.mark == "stays":
            self.say(sample.text)
            self.values |= of_the_demo(
                self._left.enter_context(_staying(sample.text, self.directory, self.environment))
            )
        else:
            self.say(sample.text)
            printed = shell.run(sample.text, may_fail=sample.mark == "may fail")
            self.say("".join(f"    {line}\n" for line in printed.splitlines()))
        return printed

    def _value(self, name: str) -> str:
        if name not in self.values:
            raise StrayError(f"nothing says what {name} is")
        return self.values[name]


def _compare(sample: Sample, printed: str) -> None:
    written, last = sample.text.strip(), printed.strip()
    same = written == last if sample.mark == "answer" else alike(json.loads(written), json.loads(last))
    if not same:
        raise StrayError(f"what was printed is {last!r}, and not")


@contextmanager
def _staying(command: str, directory: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start what stays, wait until it says that it is ready, and end it after the block. Gives what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ["bash", "-c", command], cwd=directory, env=dict(environment), stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield _once_ready(process, output)
        finally:
            _signal(process, signal.SIGINT)


def _once_ready(process: subprocess.Popen[bytes], output: IO[str]) -> str:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        output.seek(0)
        if READY in (text := output.read()):
            return text
        if ended:
            raise StrayError(f"it ended:\n{text}")
        time.sleep(0.2)
    raise StrayError(f"it does not say {READY!r} within {STARTS_WITHIN_SECONDS:g} s")


def _signal(process: "subprocess.Popen[bytes] | subprocess.Popen[str]", number: signal.Signals) -> None:
    """Send a signal to a process and what it started, and wait for its end."""
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait(timeout=60)


@contextmanager
def clean_clone() -> Iterator[Path]:
    """Clone what is committed here, and nothing else of this directory, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="readside-follow-") as directory:
        clone = Path(directory) / "readside"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
        yield clone


def reader_environment(clone: Path) -> dict[str, str]:
    """The environment of somebody who has just logged in, with psql where this machine has none of its own."""
    path = f"{os.environ['PATH']}:{bundled_programs()}"
    return {"PATH": path, "HOME": str(clone.parent), "LANG": "C.UTF-8"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Follow each document; exit 1 at the first word that is not so."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.follow", description="Follow documents to the letter.")
    parser.add_argument("documents", nargs="*", default=DOCUMENTS, help="which (default: README and tutorial)")
    parser.add_argument("--long", action="store_true", help="also what takes long: every test")
    options = parser.parse_args(arguments)
    with running_postgres() as postgres, running_redis() as redis, clean_clone() as clone:
        values = {"ADMIN_URL": postgres.url(), "READSIDE_REDIS_URL": redis.url()}
        for document in options.documents:
            began = time.monotonic()
            _say(f"== {document}")
            try:
                Walk(clone, reader_environment(clone), dict(values), options.long, _say).follow(document)
            except StrayError as stray:
                sys.exit(str(stray))
            _say(f"== {document}: followed to its end in {time.monotonic() - began:.0f} s")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
