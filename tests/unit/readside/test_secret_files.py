"""Files that hold secrets: what one gives, what is told of one that cannot be read, and how a change is taken up."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from readmodel.errors import ConfigurationError
from readside import secret_files
from readside.secret_files import WatchedFile, read_secret, warn_of_open_files
from tests.support.logs import Lines, logged
from tests.support.waiting import eventually

SECRET = "a-secret-that-nobody-may-see"
SETTING = "READSIDE_SOMETHING_FILE"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the log says."""
    with logged("info") as told:
        yield told


class Taken:
    """A watched file of words; "wrong" is none."""

    def __init__(self, path: Path, current: str = "old") -> None:
        self.values: list[str] = []
        self._path = path
        self.watched = WatchedFile(path, SETTING, self._parse, self.values.append, current)

    def write(self, text: str | None) -> None:
        """Change the file; None: it is gone."""
        if text is None:
            self._path.unlink()
        else:
            self._path.write_text(text)

    def replace(self, text: str) -> None:
        """Put another file in its place, of the same time."""
        before = self._path.stat()
        other = self._path.with_name("other")
        other.write_text(text)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(self._path)

    async def looked(self, times: int = 2) -> list[str]:
        """What was taken up once the file has been looked at so often."""
        for _ in range(times):
            await self.watched.look()
        return self.values

    def _parse(self, text: str) -> str:
        if "wrong" in text:
            raise ConfigurationError(f"{SETTING} holds no word.")
        return text.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds what is in force."""
    file = tmp_path / "secret"
    file.write_text("old\n")
    return file


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_the_last_newline_is_no_part_of_a_secret(path: Path, ending: str) -> None:
    """Editors and `echo` put one there."""
    path.write_bytes(f"a secret{ending}".encode())

    assert read_secret(path, SETTING) == "a secret"


def test_blanks_and_lines_within_stay(path: Path) -> None:
    """Only what ends the file goes, and a mark of byte order."""
    path.write_bytes(b"\xef\xbb\xbf a\nb \n")

    assert read_secret(path, SETTING) == " a\nb "


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty."), (b"\n", "is empty."), (b" \n \n", "is empty."),
        (SECRET.encode() + b"\xff", "is not UTF-8."), (SECRET.encode() * 40_000, "is longer than 1 MB."),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_secret(path: Path, content: bytes, told: str) -> None:
    """Setting and file are named, its content is not shown."""
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        read_secret(path, SETTING)
    assert str(caught.value) == f"{SETTING} ({path}) {told}"
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Told as the system says it."""
    with pytest.raises(ConfigurationError) as caught:
        read_secret(tmp_path / "gone", SETTING)

    assert str(caught.value) == f"{SETTING} ({tmp_path / 'gone'}) cannot be read: no such file or directory."


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody writes to would be waited for."""
    made = tmp_path / kind
    os.mkfifo(made) if kind == "pipe" else made.mkdir()

    with pytest.raises(ConfigurationError, match=r"is no regular file\.$"):
        read_secret(made, SETTING)


@pytest.mark.parametrize(
    "value",
    [SECRET, f"postgresql://app:{SECRET}@db/x", f"/{SECRET}", f"/{SECRET}/x", SECRET * 400, f"dash:{SECRET},a:b"],
)  # fmt: skip
def test_the_secret_itself_in_the_place_of_a_path(value: str) -> None:
    """A mistake that must not show it."""
    with pytest.raises(ConfigurationError) as caught:
        read_secret(Path(value), SETTING)

    assert str(caught.value).startswith(f"{SETTING} (not shown: it leads nowhere) cannot be read: ")


async def test_a_change_is_taken_up(path: Path, lines: Lines) -> None:
    """Once, and the log names the file."""
    taken = Taken(path)
    taken.write("new\n")

    assert await taken.looked(5) == ["new"]
    assert lines.said("a changed file is in force")[0]["file"] == str(path)
    assert len(lines.said("a changed file is in force")) == 1


async def test_what_is_in_force_already_is_not_taken_up(path: Path, lines: Lines) -> None:
    """Nor is a file that says the same in other words."""
    taken = Taken(path)
    await taken.looked()
    taken.write("old  \n\n")

    assert await taken.looked() == []
    assert not lines.text


async def test_half_a_file_is_not_taken_up(path: Path) -> None:
    """What is being written: only what two looks find alike counts."""
    taken = Taken(path)
    for text in ("n", "ne", "new"):
        taken.write(text)
        await taken.looked(1)

    assert taken.values == []
    assert await taken.looked(1) == ["new"]


async def test_a_file_that_is_replaced(path: Path) -> None:
    """By another that takes its name, as careful writers do, the same length and the same time included."""
    taken = Taken(path)
    await taken.looked()
    taken.replace("new\n")

    assert await taken.looked() == ["new"]


async def test_a_link_that_leads_elsewhere(tmp_path: Path) -> None:
    """As Kubernetes changes a mounted secret: the directory's link is replaced."""
    for name, word in (("..1", "old"), ("..2", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(word)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    taken = Taken(tmp_path / "key")
    await taken.looked()
    (tmp_path / "next").symlink_to("..2")
    (tmp_path / "next").replace(tmp_path / "..data")

    assert await taken.looked() == ["new"]


@pytest.mark.parametrize("content", ["", f"wrong {SECRET}", None])
async def test_a_broken_file_changes_nothing_and_is_told_of_once(path: Path, lines: Lines, content: str | None) -> None:
    """Empty, not what it must be, or gone; what was in force stays."""
    taken = Taken(path)
    await taken.looked()
    taken.write(content)

    assert await taken.looked(5) == []
    (line,) = lines.said("a file's former content stays in force")
    assert (line["level"], line["setting"]) == ("error", SETTING)
    assert line["reason"].startswith(SETTING)
    assert SECRET not in lines.text


async def test_each_way_of_being_broken_is_told(path: Path, lines: Lines) -> None:
    """Until it is whole again, which is taken up."""
    taken = Taken(path)
    for content in ("wrong", "", "wrong", "new", "old"):
        taken.write(content)
        await taken.looked(3)

    assert len(lines.said("a file's former content stays in force")) == 3
    assert taken.values == ["new", "old"]


async def test_a_disk_that_hangs_holds_nobody(path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    """The thread waits alone; the log says so, and what comes at last is taken up. No end of a process waits for it."""
    hangs = threading.Event()
    read = secret_files.read_secret

    def slow(path: Path, setting: str) -> str:
        hangs.wait(15)
        return read(path, setting)

    monkeypatch.setattr(secret_files, "read_secret", slow)
    monkeypatch.setattr(secret_files, "SLOW_SECONDS", 0.01)
    taken = Taken(path)
    taken.write("new")
    looking = asyncio.create_task(taken.looked())
    await eventually(lambda: lines.said("a file cannot be read in time"), "the log tells of it")
    assert [thread.daemon for thread in threading.enumerate() if thread.name == SETTING] == [True]
    hangs.set()

    assert await looking == ["new"]


async def test_a_look_can_be_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends while a disk hangs."""
    hangs = threading.Event()
    monkeypatch.setattr(secret_files, "read_secret", lambda path, setting: str(hangs.wait(15)))
    looking = asyncio.create_task(Taken(path).looked())
    await eventually(lambda: any(thread.name == SETTING for thread in threading.enumerate()), "it reads")
    looking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await looking
    hangs.set()


async def test_it_looks_again_and_again(path: Path) -> None:
    """For ever, until its process ends."""
    taken = Taken(path)
    watching = asyncio.create_task(taken.watched.run(0.001))
    for word in ("new", "newer"):
        taken.write(word)
        await eventually(lambda word=word: taken.values[-1:] == [word], "it is taken up")  # type: ignore[misc]
    watching.cancel()

    assert taken.values == ["new", "newer"]


@pytest.mark.parametrize(("mode", "may"), [(0o604, "read"), (0o602, "write"), (0o646, "read and write")])
def test_a_file_that_everybody_may_touch(path: Path, lines: Lines, mode: int, may: str) -> None:
    """Whoever may write it may give a key to themselves."""
    path.chmod(mode)
    warn_of_open_files({SETTING: path})
    (line,) = lines.said("every user of this machine has access to a secret")

    assert (line["level"], line["setting"], line["may"]) == ("warning", SETTING, may)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o400])
def test_a_file_for_a_user_or_a_group(path: Path, lines: Lines, mode: int) -> None:
    """Somebody chose whom to trust."""
    path.chmod(mode)
    warn_of_open_files({SETTING: path, "READSIDE_OTHER_FILE": path.with_name("gone")})

    assert not lines.text


def test_a_mount_of_kubernetes(tmp_path: Path, lines: Lines) -> None:
    """Readable by all, in a container where nobody else is."""
    (tmp_path / "..1").mkdir()
    (tmp_path / "..1" / "key").write_text("x")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    warn_of_open_files({SETTING: tmp_path / "key"})

    assert not lines.text
