"""Who may sign tokens, and for whom: values, checked where they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from readmodel.errors import ConfigurationError

MIN_SECRET_BYTES = 32
"""HS256 needs a secret as long as its hash (RFC 7518, section 3.2)."""
MAX_SECRETS = 4
"""So many may be valid at once: each is tried on a token that none of them signed."""
_KEY_FILES = ("-----BEGIN", "ssh-", "ecdsa-", "{", "[")


@dataclass(frozen=True, slots=True)
class TokenConfig:
    """Whose signatures are believed: those of a JWKS (a path or a URL, "" for none), of `secrets`, or of both.

    The first secret signs what `readside token` mints. `issuer` is "" where a token may come from anybody who can sign.
    """

    jwks: str = ""
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    audience: str = "readside"
    issuer: str = ""


def parse_secrets(text: str, name: str) -> tuple[bytes, ...]:
    """Read one secret a line, without the blanks around it; raises ConfigurationError that never shows one."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a variable that are no text
        raise ConfigurationError(f"{name} is not UTF-8: give {MIN_SECRET_BYTES} random characters or more.") from None
    secrets = tuple(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))
    if len(secrets) > MAX_SECRETS:
        raise ConfigurationError(f"{name} holds {len(secrets)} secrets; at most {MAX_SECRETS} are valid at once.")
    for secret in secrets:
        if secret.startswith(_KEY_FILES):
            raise ConfigurationError(
                f"{name} holds a key's file, which others may know: give {MIN_SECRET_BYTES} random characters or more."
            )
        if len(secret.encode()) < MIN_SECRET_BYTES:
            raise ConfigurationError(
                f"{name} holds a secret of {len(secret.encode())} bytes; HS256 needs {MIN_SECRET_BYTES} or more."
            )
    return tuple(secret.encode() for secret in secrets)


def is_url(jwks: str) -> bool:
    """Tell whether a JWKS is fetched; else it is a file."""
    return "://" in jwks


def check_jwks_url(url: str, name: str) -> None:
    """Raise ConfigurationError unless keys that come from there can be believed.

    Whoever answers names the keys that open everything: https proves who it is, and loopback is this machine.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"{name} cannot be read as a URL.") from None
    if parts.scheme not in {"http", "https"} or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigurationError(f"{name} must be a path, or a URL such as https://issuer.example/jwks.json.")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{name} holds a user or a password: keys that are public need none.")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigurationError(
            f"{name} is fetched without TLS, so that anybody on the way could name keys of their own: use https://, "
            "or a file."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
