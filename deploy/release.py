"""Builds all that a release is made of, checks it, and lists it: `make release`.

Wheels and source distributions of the program and of the Python client, the npm tarball, and the context of the image.
Each is built from the last commit alone, so that nothing of a developer's directory gets into it. Times, owners and
modes are the commit's too and not the builder's, so that the same tools make the same bytes of one commit.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("readside/", "projector/", "query_api/", "readmodel/")
PYTHON_CLIENT, NPM_CLIENT = Path("clients/python"), Path("clients/js")
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])(sys.argv[2]))"
SUMS = "SHA256SUMS"


def main() -> None:
    """Run as a program; what is wrong is one line on stderr."""
    parser = argparse.ArgumentParser(description="Build and check a release.")
    parser.add_argument(
        "--dist", type=Path, default=ROOT / "dist", help="where the files go, in the place of an earlier release"
    )
    parser.add_argument(
        "--without-twine", action="store_true", help="leave out twine's check, where it is not installed"
    )
    options = parser.parse_args()
    dist: Path = options.dist.absolute()
    try:
        earlier(dist)
        with tempfile.TemporaryDirectory(prefix="readside-release-") as directory:
            built = Path(directory) / "dist"
            built.mkdir()
            build(Path(directory) / "source", built, twine=not options.without_twine)
            put(built, dist)
    except ValueError as error:
        sys.exit(f"release: {error}")
    print(listed(dist))


def earlier(dist: Path) -> list[Path]:
    """The files of an earlier release, by its sums; raises ValueError where the directory holds anything else."""
    if not dist.exists():
        return []
    if not dist.is_dir():
        raise ValueError(f"{dist} is no directory")
    sums = dist / SUMS
    ours = {SUMS, *(line.partition("  ")[2] for line in read(sums))} if sums.is_file() else set()
    found = list(dist.iterdir())
    if others := sorted(file.name for file in found if file.name not in ours or not file.is_file()):
        raise ValueError(f"{dist} holds what no earlier release put there ({', '.join(others[:3])}): empty it first")
    return found


def put(built: Path, dist: Path) -> None:
    """Put what was built in the place of an earlier release; raises ValueError where other things came there."""
    for file in earlier(dist):
        file.unlink()
    dist.mkdir(parents=True, exist_ok=True)
    for file in built.iterdir():
        shutil.copyfile(file, dist / file.name)


def build(source: Path, dist: Path, *, twine: bool) -> None:
    """Build everything from the last commit, unpacked into `source`, and check it; raises ValueError."""
    tracked = committed(source)
    python = [
        *distribution(source, dist, [name for name in followed(source, tracked) if name.startswith(PACKAGES)]),
        *distribution(source / PYTHON_CLIENT, dist, within(tracked, PYTHON_CLIENT / "src")),
    ]
    npm_tarball(source / NPM_CLIENT, dist, within(tracked, NPM_CLIENT))
    image_context(source, dist, tracked)
    if twine:
        run([sys.executable, "-m", "twine", "check", "--strict", *map(str, python)], at=dist)


def committed(place: Path) -> list[str]:
    """Unpack the last commit, links as links; the names of its files, with `/` between their parts."""
    archive = place.with_suffix(".tar")
    run(["git", "-c", "tar.umask=0022", "archive", f"--output={archive}", "HEAD"], at=ROOT)
    with tarfile.open(archive) as commit:
        names = [entry.name for entry in commit if not entry.isdir()]
        unpack(commit, place)
    return names


def unpack(archive: tarfile.TarFile, place: Path) -> None:
    """Unpack what we packed ourselves."""
    archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Debian 12's Python
    archive.extractall(place)  # noqa: S202 (it is ours)


def followed(source: Path, names: Iterable[str]) -> Iterator[str]:
    """The same names, but for a link to a folder those of its files as they are called through it."""
    for name in names:
        if (source / name).is_dir():
            yield from (f"{name}/{file.name}" for file in (source / name).iterdir())
        else:
            yield name


def within(names: Iterable[str], folder: Path) -> list[str]:
    """The names below a folder, as they are called from there."""
    return [name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")]


def distribution(source: Path, dist: Path, files: Sequence[str]) -> list[Path]:
    """Build a source distribution, and a wheel from it alone; raises ValueError unless that has just these files."""
    sdist = dist / last_line(run([sys.executable, "-c", BUILD, "build_sdist", str(dist)], at=source))
    with tempfile.TemporaryDirectory(prefix="readside-sdist-") as directory:
        with tarfile.open(sdist) as archive:
            unpack(archive, place := Path(directory))
        pack(sdist, place, [str(file.relative_to(place)) for file in place.rglob("*") if not file.is_dir()])
        (unpacked,) = place.iterdir()
        wheel = dist / last_line(run([sys.executable, "-c", BUILD, "build_wheel", str(dist)], at=unpacked))
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    same(wheel.name, names, set(files))
    return [sdist, wheel]


def npm_tarball(source: Path, dist: Path, files: Sequence[str]) -> None:
    """Pack the client; raises ValueError unless the tarball has what package.json names, and what npm adds."""
    told = json.loads((source / "package.json").read_text(encoding="utf-8"))
    listing = json.loads(run(["npm", "pack", "--dry-run", "--json", "--ignore-scripts"], at=source))
    wanted = {name for name in files if name.split("/")[0] in told["files"]}
    names = {entry["path"] for entry in listing[0]["files"]}
    same(listing[0]["filename"], names, wanted | {"package.json", "README.md", "LICENSE"})
    run(["npm", "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", str(dist)], at=source)


def image_context(source: Path, dist: Path, tracked: Sequence[str]) -> None:
    """Write what `docker build - <FILE` needs: what .dockerignore lets through, and the two files that Docker reads."""
    let_through = [line[1:] for line in read(source / ".dockerignore") if line.startswith("!")]
    kept = [name for name in tracked if any(name == each or name.startswith(f"{each}/") for each in let_through)]
    for line in read(source / "Dockerfile"):
        if line.startswith("COPY ") and "--from=" not in line:
            for wanted in line.split()[1:-1]:
                if not any(fnmatch(name, wanted) or name.startswith(f"{wanted}/") for name in kept):
                    raise ValueError(f"the Dockerfile copies {wanted}, which .dockerignore keeps from it")
    pack(dist / f"readside-{version(source)}-image.tar.gz", source, [*kept, "Dockerfile", ".dockerignore"])


def pack(archive: Path, source: Path, names: Iterable[str]) -> None:
    """Write an archive of files below `source` that tells nothing of who packed it, and when."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as entries:
        for name in sorted(names):
            entries.add(source / name, name, filter=anonymous)
    with gzip.GzipFile(archive, "wb", mtime=committed_at()) as file:
        file.write(content.getvalue())


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's, of the time of the last commit, and for all to read."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = committed_at()
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


def version(source: Path) -> str:
    """The program's version, from where pyproject.toml says that it stands."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, name = project["tool"]["setuptools"]["dynamic"]["version"]["attr"].rpartition(".")
    return run([sys.executable, "-c", f"import {module} as home; print(home.{name})"], at=source).strip()


@cache
def committed_at() -> int:
    """When the last commit was made, in seconds since 1970."""
    return int(run(["git", "log", "-1", "--format=%ct"], at=ROOT))


def listed(dist: Path) -> str:
    """Write the sums into a file, for `sha256sum --check`; a table of the files."""
    files = sorted(dist.iterdir())
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (dist / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), encoding="utf-8")
    width = max(map(len, sums))
    lines = [f"{file.name:<{width}}  {file.stat().st_size / 1000:>8.1f} kB  {sums[file.name]}" for file in files]
    return "\n".join([f"{'file':<{width}}  {'size':>11}  SHA-256", *lines])


def same(what: str, found: set[str], wanted: set[str]) -> None:
    """Raise ValueError that names what is missing or too much."""
    if found != wanted:
        raise ValueError(f"{what} lacks {sorted(wanted - found)} and has {sorted(found - wanted)} too much")


def read(path: Path) -> list[str]:
    """The lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def last_line(text: str) -> str:
    """The last line of what a program printed."""
    return text.splitlines()[-1]


def run(command: Sequence[str], *, at: Path) -> str:
    """Run a program; what it printed. Raises ValueError with what it said where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if command[0] != "git":
        environment["SOURCE_DATE_EPOCH"] = str(committed_at())
    try:
        ended = subprocess.run(
            command, cwd=at, env=environment, umask=0o022, capture_output=True, check=False, text=True
        )
    except FileNotFoundError as exc:
        raise ValueError(f"{command[0]} is not on the PATH") from exc
    if ended.returncode:
        raise ValueError(f"{' '.join(command[:4])} failed:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


if __name__ == "__main__":
    main()
