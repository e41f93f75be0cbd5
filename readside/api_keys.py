"""The keys that let callers in: how they are written, and their digests, which are all that is kept."""

from __future__ import annotations

import hashlib

from readmodel.errors import ConfigurationError

SCOPES = frozenset({"read", "ops"})
Keys = dict[bytes, tuple[str, frozenset[str]]]
"""A key's SHA-256 → its name and scopes."""


def parse_keys(text: str) -> Keys:
    """Parse API_KEYS; raises ConfigurationError that never shows a key."""
    keys: Keys = {}
    for place, entry in enumerate(filter(None, map(str.strip, text.split(","))), start=1):
        name, _, rest = entry.partition(":")
        key, _, scopes_text = rest.partition(":")
        scopes = frozenset(scopes_text.split("+")) if scopes_text else frozenset({"read"})
        shown = f"entry {place} of READSIDE_API_KEYS"
        if not name or not key or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigurationError(f"{shown} is not name:key or name:key:scope+scope.")
        if not scopes <= SCOPES:
            raise ConfigurationError(f"{shown} ({name}) has an unknown scope; there are read and ops.")
        digest = hashlib.sha256(key.encode()).digest()
        if digest in keys:
            raise ConfigurationError(f"{shown} ({name}) repeats the key of {keys[digest][0]}.")
        keys[digest] = (name, scopes)
    return keys


def written_keys(text: str) -> set[str]:
    """Give the keys themselves, for the log to mask, as far as the text can be read."""
    return {entry.split(":")[1].strip() for entry in text.split(",") if ":" in entry} - {""}
