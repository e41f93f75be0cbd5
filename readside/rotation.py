"""What of an API process changes with its files: keys, and secrets that sign tokens. The log masks new ones first."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from query_api.access.token_config import parse_secrets
from query_api.config import ApiConfig
from readmodel.errors import ConfigurationError
from readside.api_keys import Keys, parse_keys_file, written_keys_of_file
from readside.logging import mask
from readside.secret_files import WatchedFile, read_secret

KEYS_FILE = "READSIDE_API_KEYS_FILE"
SECRETS_FILE = "READSIDE_JWT_SECRET_FILE"


def read_anew(config: ApiConfig) -> ApiConfig:
    """The config with what its files hold now: a worker in a dead one's place starts long after they were read.

    Of a file that cannot be read the former content stays; whoever watches it says so.
    """
    with suppress(ConfigurationError):
        if config.keys_file is not None:
            text = read_secret(config.keys_file, KEYS_FILE)
            config = replace(config, keys=_keys_of(text, may_be_empty=config.tokens is not None))
    with suppress(ConfigurationError):
        if config.secrets_file is not None and config.tokens is not None:
            secrets = _secrets_of(read_secret(config.secrets_file, SECRETS_FILE))
            config = replace(config, tokens=replace(config.tokens, secrets=secrets))
    return config


def watching(
    config: ApiConfig,
    use_keys: Callable[[Keys], None],
    use_secrets: Callable[[tuple[bytes, ...]], None] | None = None,
) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs for ever to have the keys and secrets of files in force, for those that come from files."""
    if config.keys_file is not None:
        current = dict(config.keys or {})
        yield watched_keys(config.keys_file, current, use_keys, may_be_empty=config.tokens is not None).run()
    if config.secrets_file is not None and config.tokens is not None and use_secrets is not None:
        yield watched_secrets(config.secrets_file, config.tokens.secrets, use_secrets).run()


def watched_keys(
    path: Path, current: Keys, take: Callable[[Keys], None], *, may_be_empty: bool = False
) -> WatchedFile[Keys]:
    """Watch a file of keys. As at the start, one without any is refused unless tokens let in."""
    return WatchedFile(path, KEYS_FILE, partial(_keys_of, may_be_empty=may_be_empty), take, current)


def watched_secrets(
    path: Path, current: tuple[bytes, ...], take: Callable[[tuple[bytes, ...]], None]
) -> WatchedFile[tuple[bytes, ...]]:
    """Watch a file of secrets that sign tokens, one a line."""
    return WatchedFile(path, SECRETS_FILE, _secrets_of, take, current)


def _keys_of(text: str, *, may_be_empty: bool) -> Keys:
    """Read a file of keys, which the log masks from now on."""
    mask(KEYS_FILE, written_keys_of_file(text))
    keys = parse_keys_file(text, KEYS_FILE)
    if not keys and not may_be_empty:
        raise ConfigurationError(f"{KEYS_FILE} holds no key.")
    return keys


def _secrets_of(text: str) -> tuple[bytes, ...]:
    """Read a file of secrets, which the log masks from now on."""
    mask(SECRETS_FILE, map(str.strip, text.splitlines()))
    return parse_secrets(text, SECRETS_FILE)
