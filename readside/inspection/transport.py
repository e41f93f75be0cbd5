"""Whether what goes to a store can be read or altered on the way: judged from its URL and from the connection."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from readside.exposure import is_loopback
from readside.inspection.findings import Finding, fine, warning

CHECKED = ("verify-ca", "verify-full")


def hosts_of(url: str) -> list[str]:
    """The hosts that a URL names; a socket's directory, or none, is this machine."""
    parts = urlsplit(url)
    named = parse_qs(parts.query).get("host", [])
    places = parts.netloc.rpartition("@")[2].split(",") if parts.netloc else []
    return [found for place in [*places, *named] for each in place.split(",") if (found := _host(each))]


def stays_here(url: str) -> bool:
    """Tell whether all that a URL names is this machine."""
    return all(_is_here(host) for host in hosts_of(url))


def judge_postgres_tls(
    check: str, url: str, *, mode: str | None, version: str | None, peer: str | None = None
) -> Finding:
    """Judge a connection to Postgres: `mode` is the sslmode that was asked for, `version` of TLS what came of it.

    `peer` is the address of who answers, None over a socket of this machine. Where the URL names no host, libpq's
    variables do.
    """
    is_here = stays_here(url) and (peer is None or _is_here(peer))
    asked = f"sslmode={mode}" if mode else "no sslmode, which is prefer"
    wanted = "Put sslmode=verify-full&sslrootcert=FILE into the URL."
    if version is None:
        if is_here:
            return fine(check, f"plain text, which does not leave this machine ({asked})")
        fallback = "" if mode in {"disable", "allow"} else ", and falls back to plain text without a word"
        return warning(check, f"Plain text over the network: the URL asks for {asked}{fallback}.", wanted)
    if mode in CHECKED:
        return fine(check, f"{version}, and the server's certificate is checked ({asked})")
    if is_here:
        return fine(check, f"{version} ({asked})")
    return warning(
        check,
        f"{version}, but the certificate is not checked ({asked}): who is on the way can read along.",
        wanted,
    )


def judge_redis_tls(check: str, url: str, masters: Sequence[str], *, is_encrypted: bool, is_verified: bool) -> Finding:
    """Judge the connections to Redis: to the hosts that the URL names, and to `masters`, which others may name."""
    is_here = stays_here(url) and all(map(_is_here, masters))
    if not is_encrypted:
        if is_here:
            return fine(check, "plain text, which does not leave this machine")
        return warning(
            check,
            "Plain text over the network, password included.",
            "Use rediss:// (and ssl_ca_certs=FILE in its query for a CA of your own).",
        )
    if is_verified or is_here:
        return fine(check, "TLS, and the server's certificate is checked" if is_verified else "TLS")
    return warning(
        check,
        "TLS, but the certificate is not checked: whoever is on the way can read along.",
        "Take ssl_cert_reqs and ssl_check_hostname out of the URL's query; name your CA by ssl_ca_certs=FILE.",
    )


def _host(place: str) -> str:
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place if place.count(":") > 1 else place.partition(":")[0]


def _is_here(host: str) -> bool:
    if host.startswith(("/", "%2F", "%2f")) or host.lower().rstrip(".") == "localhost":
        return True
    return is_loopback(host)
