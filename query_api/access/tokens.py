"""JSON Web Tokens: which are good, and what a good one says."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from jwt import InvalidSignatureError, PyJWK, PyJWS, PyJWTError

from query_api.access.jwks import MAX_KID, strict_object
from query_api.access.key_ring import KeyRing, source_of
from query_api.access.token_config import MIN_SECRET_BYTES, TokenConfig
from readmodel.errors import ConfigurationError, InvalidParameter
from readmodel.values.ids import parse_session_id

MAX_BYTES = 8_000
MAX_SESSIONS = 64
MAX_SUBJECT = 255
CLOCKS_DIFFER_SECONDS = 5.0
"""By so much a minter's clock may be ahead (`nbf`, `iat`). `exp` is exact: a token ends when it says."""
_LAST_SECOND = 253_402_300_799  # of year 9999: later ones overflow what dates are made of
_SHAPE = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SHARED = "HS256"
_BY_KEY = ("EdDSA", "ES256", "RS256")

Reason = Literal[
    "too_long", "malformed", "header", "algorithm", "no_keys", "unknown_key", "signature", "claims", "expired",
    "not_yet", "audience", "issuer",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)


class Claims(NamedTuple):
    """What a good token says: `sessions` are canonical ids, or None for every one; `expires_at` is unix seconds."""

    subject: str | None
    sessions: frozenset[str] | None
    expires_at: float


class BadToken(Exception):
    """A token that is not believed; str() is a full sentence that repeats nothing of it."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: Reason = reason


class KeyNotKnown(BadToken):
    """It names a key that may be among those being read now: wait for `Tokens.settled()`, then ask once more."""


class Tokens:
    """Checks tokens. `on_change` is called when a verdict of before may be wrong now.

    `clock` gives monotonic seconds, for the keys' age.
    """

    def __init__(self, config: TokenConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_change: Callable[[], None] = _nothing
        self._audience = config.audience
        self._issuer = config.issuer
        self._secrets: tuple[PyJWK, ...] = ()
        self._ring = KeyRing(source_of(config.jwks), self._changed, clock) if config.jwks else None
        self.use_secrets(config.secrets)

    @property
    def keys(self) -> int:
        """How many keys and secrets may have signed a token now."""
        return len(self._secrets) + (len(self._ring.keys.keys) if self._ring else 0)

    @property
    def failures(self) -> int:
        """How often the JWKS could not be read."""
        return self._ring.failures if self._ring else 0

    @property
    def age_seconds(self) -> float | None:
        """How long ago the JWKS was last read; None where there is none, or it never was."""
        return self._ring.age_seconds if self._ring else None

    async def begin(self) -> None:
        """Read the keys for the first time; waits a second for them at most."""
        if self._ring:
            await self._ring.begin()

    async def run(self) -> None:
        """Keep the keys fresh, for ever; returns at once where there is no JWKS."""
        if self._ring:
            await self._ring.run()

    async def settled(self) -> None:
        """Wait until the keys that are being read are in use, for two seconds at most."""
        if self._ring:
            await self._ring.settled()

    def use_secrets(self, secrets: Sequence[bytes]) -> None:
        """Believe these secrets from now on, and no other; raises ConfigurationError, and goes on with the old ones."""
        made = tuple(_of_secret(secret) for secret in secrets)
        changed = [key.key for key in made] != [key.key for key in self._secrets]
        self._secrets = made
        if changed:
            self._changed()

    def claims(self, token: bytes, now: float) -> Claims:
        """Check a token and give what it says; raises BadToken. `now` is unix seconds.

        Nothing but the header is parsed before the signature is known to be good.
        """
        if len(token) > MAX_BYTES:
            raise BadToken("too_long", f"The token is longer than {MAX_BYTES} bytes.")
        if not _SHAPE.fullmatch(token):
            raise BadToken("malformed", "The token is not three parts of base64url with dots between them.")
        payload = _payload(token, self._keys(_header(token)))
        try:
            claims = strict_object(payload)
        except ValueError:
            raise BadToken("malformed", "The token's claims are no JSON object that can be read in one way.") from None
        _check_times(claims, now)
        self._check_parties(claims)
        return Claims(_subject(claims), _sessions(claims), float(claims["exp"]))

    def _changed(self) -> None:
        self.on_change()  # whoever it is by now

    def _keys(self, header: dict[str, Any]) -> Sequence[PyJWK]:
        """The keys that may have signed it. Their type says by which algorithm: the token can only agree."""
        algorithm = header.get("alg")
        if algorithm == _SHARED and self._secrets:
            return self._secrets
        if self._ring is None or algorithm not in _BY_KEY:
            raise BadToken("algorithm", "The token is signed with an algorithm (alg) that is not accepted here.")
        if "kid" in header:
            return [_named(self._ring, header["kid"], algorithm)]
        return [_only(self._ring, algorithm)]

    def _check_parties(self, claims: dict[str, Any]) -> None:
        audience = claims.get("aud")
        meant = audience if isinstance(audience, list) else [audience]
        if self._audience not in meant or not all(isinstance(name, str) for name in meant):
            raise BadToken("audience", "The token is not meant for this service (aud).")
        if self._issuer and claims.get("iss") != self._issuer:
            raise BadToken("issuer", "The token is not from the issuer that is believed here (iss).")


_JWS = PyJWS(algorithms=[_SHARED, *_BY_KEY])


def _nothing() -> None:
    """Nobody wants to know."""


def _of_secret(secret: bytes) -> PyJWK:
    if len(secret) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"A secret for tokens must have {MIN_SECRET_BYTES} bytes or more.")
    key = PyJWK({"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode()}, _SHARED)
    try:
        key.Algorithm.prepare_key(key.key)
    except PyJWTError:
        raise ConfigurationError("A secret for tokens looks like a key's file, which others may know.") from None
    return key


def _header(token: bytes) -> dict[str, Any]:
    """Parse the header. `jwk`, `jku`, `x5u` and `x5c` in it are not looked at: a token does not choose its key."""
    part = token.partition(b".")[0]
    try:
        header = strict_object(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except ValueError:
        raise BadToken("malformed", "The token's header is no JSON object that can be read in one way.") from None
    for name in ("crit", "b64", "cty", "enc"):
        if name in header:
            raise BadToken("header", f"The token's header has {name}, which is not accepted here.")
    return header


def _named(ring: KeyRing, kid: Any, algorithm: str) -> PyJWK:
    if not isinstance(kid, str) or len(kid) > MAX_KID:
        raise BadToken("header", f"The token's kid must be text of at most {MAX_KID} characters.")
    if key := ring.keys.find(kid, algorithm):
        return key.key
    if ring.keys.knows(kid):
        raise BadToken("algorithm", "The token's algorithm (alg) is not that of the key that it names (kid).")
    kind = KeyNotKnown if ring.ask() else BadToken
    if not ring.loaded:
        raise kind("no_keys", "The keys that sign tokens could not be read yet.")
    raise kind("unknown_key", "The token names a key (kid) that is not known.")


def _payload(token: bytes, keys: Sequence[PyJWK]) -> bytes:
    for key in keys:
        try:
            payload: bytes = _JWS.decode(token, key, algorithms=[key.algorithm_name])
        except InvalidSignatureError:
            continue
        except (PyJWTError, ValueError, TypeError):
            raise BadToken("malformed", "The token cannot be read as a signed JWT.") from None
        return payload
    raise BadToken("signature", "The token's signature is not of a key that may sign tokens.")


def _check_times(claims: dict[str, Any], now: float) -> None:
    if "exp" not in claims:
        raise BadToken("claims", "The token has no end (exp), which is required.")
    if _instant(claims, "exp") <= now:
        raise BadToken("expired", "The token has expired (exp).")
    for name in ("nbf", "iat"):
        if name in claims and _instant(claims, name) > now + CLOCKS_DIFFER_SECONDS:
            raise BadToken("not_yet", f"The token is not valid yet ({name}).")


def _only(ring: KeyRing, algorithm: str) -> PyJWK:
    """The one key that a token without a name of one can mean."""
    fitting = ring.keys.of(algorithm)
    if len(fitting) == 1:
        return fitting[0].key
    if fitting:
        raise BadToken("unknown_key", "The token names no key (kid), and more than one could have signed it.")
    if ring.loaded:
        raise BadToken("algorithm", "The token is signed with an algorithm (alg) that no known key is used for.")
    kind = KeyNotKnown if ring.ask() else BadToken
    raise kind("no_keys", "The keys that sign tokens could not be read yet.")


def _instant(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise BadToken("claims", f"The token's {name} is not a number of seconds since 1970.")
    return float(value)


def _subject(claims: dict[str, Any]) -> str | None:
    subject = claims.get("sub")
    if "sub" in claims and not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT and subject.isprintable()):
        raise BadToken("claims", f"The token's sub must be text of 1 to {MAX_SUBJECT} printable characters.")
    return subject


def _sessions(claims: dict[str, Any]) -> frozenset[str] | None:
    sessions = claims.get("sessions")
    if sessions == "*":
        return None
    if not isinstance(sessions, list) or len(sessions) > MAX_SESSIONS:
        raise BadToken("claims", f'The token\'s sessions must be a list of at most {MAX_SESSIONS} ids, or "*".')
    try:
        return frozenset(parse_session_id(entry if isinstance(entry, str) else "") for entry in sessions)
    except InvalidParameter:
        raise BadToken("claims", "The token's sessions has an entry that is no session id (UUID).") from None
