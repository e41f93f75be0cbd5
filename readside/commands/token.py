"""`readside token`: a token for development and for small backends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jwt
import typer

from query_api.access.token_config import TokenConfig
from query_api.access.tokens import MAX_SESSIONS, MAX_SUBJECT
from readmodel.errors import ConfigurationError, InvalidParameter
from readmodel.values.ids import parse_session_id
from readside.settings import Settings


def token(settings: Settings, sessions: Sequence[str], *, ttl_seconds: int, subject: str | None) -> None:
    """Print a token for these sessions, and nothing else."""
    config = settings.token_config()
    if config is None or not config.secrets:
        raise ConfigurationError("READSIDE_JWT_SECRET is not set; it must be the secret that signs tokens.")
    typer.echo(mint(config, sessions, ttl_seconds=ttl_seconds, subject=subject, now=int(time.time())))


def mint(config: TokenConfig, sessions: Sequence[str], *, ttl_seconds: int, subject: str | None, now: int) -> str:
    """Sign a token with the first secret, of which there must be one; raises InvalidParameter."""
    claims: dict[str, Any] = {
        "aud": config.audience,
        "sessions": _named(sessions),
        "iat": now,
        "exp": now + ttl_seconds,
    }
    if config.issuer:
        claims["iss"] = config.issuer
    if subject is not None:
        if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise InvalidParameter("--subject", f"--subject must be 1 to {MAX_SUBJECT} printable characters.")
        claims["sub"] = subject
    return jwt.encode(claims, config.secrets[0], algorithm="HS256")


def _named(sessions: Sequence[str]) -> list[str] | str:
    """Each id once, as it is written everywhere, or `*` for every session."""
    if list(sessions) == ["*"]:
        return "*"
    if "*" in sessions:
        raise InvalidParameter("SESSION", "Name sessions, or give '*' for every one, not both.")
    ids = list(dict.fromkeys(map(parse_session_id, sessions)))
    if len(ids) > MAX_SESSIONS:
        raise InvalidParameter("SESSION", f"{len(ids)} sessions are named; a token holds {MAX_SESSIONS} at most.")
    return ids
