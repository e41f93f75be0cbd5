"""The keys that let callers in: how they are written, and their digests, which are all that is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from readmodel.errors import ConfigurationError

SCOPES = frozenset({"read", "ops"})
LEAST_KEY = 16
"""Characters of a key: a shorter one can be guessed."""
MOST_KEYS = 1_000
"""The log looks for each of them in each of its lines."""
Keys = dict[bytes, tuple[str, frozenset[str]]]
"""A key's SHA-256 → its name and scopes."""

_TEXT_FORM = "name:key or name:key:scope+scope"
_FILE_FORM = '{"name": ..., "key": ...} or {"name": ..., "sha256": ...}, with "scopes": ["read", "ops"] if wanted'
_FIELDS = frozenset({"name", "key", "sha256", "scopes"})
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_SHORT_NAME = re.compile(r"[A-Za-z0-9_.@/-]{1,15}")
_WORDS = re.compile(r"(?=.{1,64}\Z)(?:[A-Z]?[a-z]{0,14}[0-9]{0,3}[_.@/-])*[A-Z]?[a-z]{0,14}[0-9]{0,3}")
"""Words with up to three digits each. Random keys are none: where one stands in a name's place, it is not shown."""


class _GivenKey(NamedTuple):
    """A key as somebody wrote it, or its digest; `shown` is its place, for errors."""

    shown: str
    name: str
    key: str | None
    digest: bytes
    scopes: frozenset[str]


def parse_keys(text: str) -> Keys:
    """Parse API_KEYS; raises ConfigurationError that never shows a key."""
    return _admitted(_entries_of_text(text))


def parse_keys_file(text: str, setting: str = "READSIDE_API_KEYS_FILE") -> Keys:
    """Parse the file form, a JSON array of objects; raises ConfigurationError that shows neither keys nor digests."""
    return _admitted(_entries_of_file(text, setting))


def written_keys(text: str) -> set[str]:
    """The keys themselves, for the log to mask, as far as the text can be read."""
    return {entry.split(":")[1].strip() for entry in text.split(",") if ":" in entry} - {""}


def written_keys_of_file(text: str) -> set[str]:
    """The keys themselves of the file form, as far as it can be read."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return set()
    objects = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return {one["key"] for one in objects if isinstance(one.get("key"), str)} - {""}


def _entries_of_text(text: str) -> Iterator[_GivenKey]:
    for place, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        shown = f"entry {place} of READSIDE_API_KEYS"
        name, _, rest = entry.partition(":")
        key, _, scopes = rest.partition(":")
        if not name or not _can_be_sent(key):
            raise ConfigurationError(f"{shown} is not {_TEXT_FORM}.")
        yield _GivenKey(shown, name, key, _digest(key), frozenset(scopes.split("+") if scopes else {"read"}))


def _entries_of_file(text: str, setting: str) -> Iterator[_GivenKey]:
    for place, given in enumerate(_objects(text, setting), start=1):
        shown = f"entry {place} of {setting}"
        if not isinstance(given, tuple):
            raise ConfigurationError(f"{shown} is not {_FILE_FORM}.")
        fields: dict[str, Any] = dict(given)
        if len(fields) < len(given) or not fields.keys() <= _FIELDS:
            raise ConfigurationError(f"{shown} has a field twice, or one that is none of name, key, sha256, scopes.")
        yield _entry_of(fields, shown)


def _entry_of(fields: dict[str, Any], shown: str) -> _GivenKey:
    name, key, sha256, scopes = (fields.get(field) for field in ("name", "key", "sha256", "scopes"))
    if not isinstance(name, str) or not name or (key is None) == (sha256 is None):
        raise ConfigurationError(f"{shown} is not {_FILE_FORM}.")
    if scopes is not None and not (isinstance(scopes, list) and scopes and all(isinstance(s, str) for s in scopes)):
        raise ConfigurationError(f"{shown} has scopes that are no list of read and ops.")
    if sha256 is None:
        if not isinstance(key, str) or not _can_be_sent(key):
            raise ConfigurationError(f"{shown} has a key that is no text of printable ASCII without blanks.")
        digest = _digest(key)
    elif isinstance(sha256, str) and _SHA256.fullmatch(sha256):
        digest = bytes.fromhex(sha256)
    else:
        raise ConfigurationError(f"{shown} has a sha256 that is not 64 hexadecimal digits.")
    return _GivenKey(shown, name, key, digest, frozenset(scopes or {"read"}))


def _objects(text: str, setting: str) -> list[Any]:
    """The array's items; an object is a tuple of its fields, so that one that stands twice is seen."""
    try:
        given = json.loads(text, object_pairs_hook=tuple)
    except json.JSONDecodeError as exc:  # its message may quote what it could not read
        raise ConfigurationError(f"{setting} is not JSON: see line {exc.lineno}, column {exc.colno}.") from None
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{setting} is not JSON that can be read.") from None
    if not isinstance(given, list):
        raise ConfigurationError(f"{setting} is not a JSON array with {_FILE_FORM} for each key.")
    return given


def _admitted(entries: Iterable[_GivenKey]) -> Keys:
    """Check what both forms must hold. A name is shown only where no key can be in its place."""
    keys: Keys = {}
    for entry in entries:
        if entry.key is not None and len(entry.key) < LEAST_KEY <= len(entry.name):
            raise ConfigurationError(
                f"{entry.shown} has a key shorter than {LEAST_KEY} characters, or its name and key are reversed "
                "(so neither is shown): the name comes first."
            )
        if not (_SHORT_NAME.fullmatch(entry.name) or _WORDS.fullmatch(entry.name)):
            raise ConfigurationError(
                f"{entry.shown} has no name, or a key in its place: a name has up to 15 letters, digits and any of "
                "_ . @ / -; a longer one, up to 64, words of letters and then up to three digits between them."
            )
        if entry.key is not None and len(entry.key) < LEAST_KEY:
            name = f" ({entry.name})" if _WORDS.fullmatch(entry.name) else ""  # else both may be short, and reversed
            raise ConfigurationError(f"{entry.shown}{name} has a key shorter than {LEAST_KEY} characters.")
        if not entry.scopes <= SCOPES:
            raise ConfigurationError(f"{entry.shown} ({entry.name}) has an unknown scope; there are read and ops.")
        if entry.digest in keys:
            raise ConfigurationError(f"{entry.shown} ({entry.name}) repeats the key of {keys[entry.digest][0]}.")
        if len(keys) == MOST_KEYS:
            raise ConfigurationError(f"{entry.shown} is one too many: there may be {MOST_KEYS:,} keys.")
        keys[entry.digest] = (entry.name, entry.scopes)
    return keys


def _can_be_sent(key: str) -> bool:
    """Tell whether a header can carry it, and everybody reads the same."""
    return bool(key) and key.isascii() and key.isprintable() and " " not in key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
