"""Keys and secrets that change under a running process: what is in force after which file."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from query_api.access.token_config import TokenConfig
from query_api.access.tokens import Tokens
from readside.api_keys import Keys
from readside.rotation import read_anew, watched_keys, watched_secrets, watching
from tests.support.builders import api_config
from tests.support.logs import Lines, logged

OLD, NEW = "the-old-key-of-somebody", "the-new-key-of-somebody"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the log says."""
    with logged("info") as told:
        yield told


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


async def test_keys_are_replaced_as_one(tmp_path: Path) -> None:
    """Both while both stand there, then the new one alone."""
    file, taken = tmp_path / "keys", list[Keys]()
    watched = watched_keys(file, {digest(OLD): ("dash", frozenset({"read"}))}, taken.append)
    for keys in ([OLD], [OLD, NEW], [NEW]):
        file.write_text(json.dumps([{"name": "dash", "key": key} for key in keys]))
        await watched.look()
        await watched.look()

    assert [set(keys) for keys in taken] == [{digest(OLD), digest(NEW)}, {digest(NEW)}]


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        f"dash:{NEW}",
        json.dumps([{"name": "dash", "key": "short"}]),
        json.dumps([{"name": "dash", "key": f"\ud800{NEW}"}]),
    ],
)
async def test_a_wrong_file_of_keys_lets_the_former_in(tmp_path: Path, lines: Lines, content: str) -> None:
    """None at all, the other form, a key that can be guessed, one that is no text: told, without any key."""
    file, taken = tmp_path / "keys", list[Keys]()
    file.write_text(content)
    watched = watched_keys(file, {}, taken.append)
    await watched.look()
    await watched.look()
    (line,) = lines.said("a file's former content stays in force")

    assert taken == []
    assert "READSIDE_API_KEYS_FILE" in line["reason"]
    assert NEW not in lines.text


async def test_no_key_where_tokens_let_in(tmp_path: Path) -> None:
    """The last key may go."""
    file, taken = tmp_path / "keys", list[Keys]()
    file.write_text("[]")
    watched = watched_keys(file, {digest(OLD): ("dash", frozenset({"read"}))}, taken.append, may_be_empty=True)
    await watched.look()
    await watched.look()

    assert taken == [{}]


def test_what_is_watched(tmp_path: Path) -> None:
    """What comes from files, and nothing else."""
    files = {"keys_file": tmp_path / "keys", "secrets_file": tmp_path / "secrets"}
    configs = [api_config("", "", **changes) for changes in ({}, files, {**files, "tokens": TokenConfig()})]
    counts = []
    for config in configs:
        works = list(watching(config, lambda _: None, lambda _: None))
        counts.append(len(works))
        for work in works:
            work.close()

    assert counts == [0, 1, 2]


async def test_the_log_masks_new_keys_and_those_just_gone(tmp_path: Path, lines: Lines) -> None:
    """Whatever bears them may be under way still."""
    file = tmp_path / "keys"
    watched = watched_keys(file, {}, lambda _: None)
    for key in (OLD, NEW):
        file.write_text(json.dumps([{"name": "dash", "key": key}]))
        await watched.look()
        await watched.look()
    structlog.get_logger().warning("x", text=f"somebody sent {NEW} and {OLD}")

    assert lines.said("x")[0]["text"] == "somebody sent *** and ***"


async def test_secrets_of_tokens_are_replaced(tmp_path: Path, lines: Lines) -> None:
    """Those of a running check, which a file too short for it does not touch; the log masks them."""
    file, first, second = tmp_path / "secrets", "1" * 32, "2" * 32
    tokens = Tokens(TokenConfig(secrets=(first.encode(),)))
    changes = list[int]()
    tokens.on_change = lambda: changes.append(tokens.keys)
    watched = watched_secrets(file, (first.encode(),), tokens.use_secrets)
    for content in (first, f"{second}\n{first}\n", "too short", second):
        file.write_text(content)
        await watched.look()
        await watched.look()
    structlog.get_logger().warning("x", text=second)

    assert changes == [2, 1]
    assert lines.said("x")[0]["text"] == "***"


def test_a_worker_starts_with_what_the_files_hold_now(tmp_path: Path, lines: Lines) -> None:
    """It may take a dead one's place long after a key was withdrawn; no line shows what is new."""
    keys, secrets = tmp_path / "keys", tmp_path / "secrets"
    keys.write_text(json.dumps([{"name": "dash", "key": NEW}]))
    secrets.write_text("2" * 32)
    before = TokenConfig(secrets=(b"1" * 32,), issuer="us")
    config = read_anew(
        api_config("", "", keys={digest(OLD): ("dash", frozenset({"read"}))}, keys_file=keys, tokens=before,
                   secrets_file=secrets)
    )  # fmt: skip
    structlog.get_logger().warning("x", text=f"{NEW} {'2' * 32}")

    assert config.keys == {digest(NEW): ("dash", frozenset({"read"}))}
    assert config.tokens == TokenConfig(secrets=(b"2" * 32,), issuer="us")
    assert lines.said("x")[0]["text"] == "*** ***"


def test_a_worker_starts_where_its_files_cannot_be_read(tmp_path: Path) -> None:
    """With what its parent had; where no file is named, too."""
    gone = api_config("", "", keys_file=tmp_path / "no", tokens=TokenConfig(), secrets_file=tmp_path / "no")
    none = api_config("", "")

    assert (read_anew(gone), read_anew(none)) == (gone, none)
