"""Who may ask: keys by their SHA-256, and the scopes that each has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from query_api.problems import problem
from query_api.reply import Reply

_REALM = b'Bearer realm="readside"'
_BEARER = b"bearer "


class Gate:
    """Checks keys. A key has exactly the scopes it was given; without `keys` everybody may do everything."""

    def __init__(self, keys: Mapping[bytes, tuple[str, frozenset[str]]] | None) -> None:
        self._keys = keys
        self._seen: dict[bytes, frozenset[str]] = {}  # keys that were right: at most as many as there are
        self.edition = object()
        """Another one as soon as a key that was let in may be refused."""

    def replace_keys(self, keys: Mapping[bytes, tuple[str, frozenset[str]]]) -> None:
        """Let in by these keys from now on, and by no others."""
        self._keys = keys
        self._seen.clear()
        self.edition = object()

    @property
    def asks(self) -> bool:
        """Whether a key is needed at all."""
        return self._keys is not None

    def refusal(self, x_api_key: bytes | None, authorization: bytes | None, scope: str) -> Reply | None:
        """Give the 401 or 403 for these header values, or None where the caller may go on.

        Only digests are compared, so the time it takes says nothing about a key.
        """
        if self._keys is None:
            return None
        key = x_api_key or _bearer(authorization)
        if key in self._seen and scope in self._seen[key]:
            return None  # found by a hash that nobody outside can compute: as silent as the digest, and faster
        if key is None:
            return _unauthorized("An API key is needed, as X-API-Key or as Authorization: Bearer.", _REALM)
        digest = hashlib.sha256(key).digest()
        name, scopes = self._keys.get(digest, ("", None))
        if scopes is None:
            return _unauthorized("The API key is not known.", _REALM + b', error="invalid_token"')
        self._seen[key] = scopes
        if scope not in scopes:
            return problem(
                403,
                f"The API key {name} lacks the scope {scope}.",
                headers=[(b"www-authenticate", _REALM + b', error="insufficient_scope", scope="%b"' % scope.encode())],
            )
        return None


def _bearer(authorization: bytes | None) -> bytes | None:
    if authorization is None or authorization[:7].lower() != _BEARER:
        return None
    return authorization[7:].strip() or None


def _unauthorized(detail: str, challenge: bytes) -> Reply:
    return problem(401, detail, headers=[(b"www-authenticate", challenge)])
