"""What of an API process changes with its files: keys, and secrets that sign tokens. The log masks new ones first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from query_api.access.token_config import parse_secrets
from readmodel.errors import ConfigurationError
from readside.api_keys import Keys, parse_keys_file, written_keys_of_file
from readside.logging import mask
from readside.secret_files import WatchedFile

KEYS_FILE = "READSIDE_API_KEYS_FILE"
SECRETS_FILE = "READSIDE_JWT_SECRET_FILE"


def watched_keys(path: Path, current: Keys, take: Callable[[Keys], None]) -> WatchedFile[Keys]:
    """Watch a file of keys; one without any is refused, as it is at the start."""

    def parse(text: str) -> Keys:
        mask(KEYS_FILE, written_keys_of_file(text))
        keys = parse_keys_file(text, KEYS_FILE)
        if not keys:
            raise ConfigurationError(f"{KEYS_FILE} holds no key.")
        return keys

    return WatchedFile(path, KEYS_FILE, parse, take, current)


def watched_secrets(
    path: Path, current: tuple[bytes, ...], take: Callable[[tuple[bytes, ...]], None]
) -> WatchedFile[tuple[bytes, ...]]:
    """Watch a file of secrets that sign tokens, one a line."""

    def parse(text: str) -> tuple[bytes, ...]:
        mask(SECRETS_FILE, map(str.strip, text.splitlines()))
        return parse_secrets(text, SECRETS_FILE)

    return WatchedFile(path, SECRETS_FILE, parse, take, current)
