"""A JSON Web Key Set read strictly: which keys may check tokens, each for the one algorithm that fits its type."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from jwt import PyJWK, PyJWTError

MAX_BYTES = 1_000_000
MAX_KEYS = 100
MAX_KID = 200
MAX_DEPTH = 16
"""No JSON that is read here goes deeper; how deep json itself can go depends on who called."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
"""Shorter ones can be broken; longer ones take milliseconds a token."""
MAX_EXPONENT_BITS = 32
"""A long exponent makes a check as slow as signing."""
_PRIVATE = ("d", "p", "q", "k")
_MATERIAL = {"EdDSA": ("x",), "ES256": ("x", "y"), "RS256": ("n", "e")}


class UnreadableJwks(Exception):
    """What should be a key set is none; str() is a full sentence."""


class UnusableJwk(Exception):
    """One key of a set is left out; str() says why, after its name."""


class VerifyingKey(NamedTuple):
    """A public key: its id in the set, its one algorithm, and its numbers as the set spells them."""

    kid: str | None
    algorithm: str
    material: tuple[str, ...]
    key: PyJWK

    @property
    def identity(self) -> tuple[str | None, str, tuple[str, ...]]:
        """What makes it the same key in another edition of the set."""
        return self.kid, self.algorithm, self.material


class KeySet:
    """The usable keys of one document, and why others were left out."""

    def __init__(self, keys: Iterable[VerifyingKey] = (), left_out: Iterable[str] = ()) -> None:
        self.keys = tuple(keys)
        self.left_out = tuple(left_out)
        self._named = {(key.kid, key.algorithm): key for key in self.keys if key.kid is not None}
        self._kids = frozenset(kid for kid, _ in self._named)
        self._algorithms = Counter(key.algorithm for key in self.keys)

    def find(self, kid: str, algorithm: str) -> VerifyingKey | None:
        """The key of this name that checks this algorithm."""
        return self._named.get((kid, algorithm))

    def knows(self, kid: str) -> bool:
        """Tell whether a key has this name, whatever it checks."""
        return kid in self._kids

    def of(self, algorithm: str) -> list[VerifyingKey]:
        """The keys that check this algorithm."""
        return [key for key in self.keys if key.algorithm == algorithm] if self._algorithms[algorithm] else []

    def same(self, other: KeySet) -> bool:
        """Tell whether both would say the same of every token."""
        return {key.identity for key in self.keys} == {key.identity for key in other.keys}


def parse_jwks(document: bytes) -> KeySet:
    """Read a key set; raises UnreadableJwks. A key that cannot be used is left out, and the others are taken."""
    if len(document) > MAX_BYTES:
        raise UnreadableJwks(f"The key set is longer than {MAX_BYTES / 1_000_000:g} MB.")
    try:
        parsed = strict_object(document)
    except ValueError:
        raise UnreadableJwks("The key set is no JSON object.") from None
    entries = parsed.get("keys")
    if not isinstance(entries, list):
        raise UnreadableJwks("The key set has no list of keys.")
    if len(entries) > MAX_KEYS:
        raise UnreadableJwks(f"The key set has {len(entries)} keys; at most {MAX_KEYS} are taken.")
    keys: dict[tuple[Any, ...], VerifyingKey] = {}
    left_out: list[str] = []
    for place, entry in enumerate(entries, start=1):
        try:
            key = _key(entry)
            name = key.identity if key.kid is None else key.identity[:2]
            if name in keys:
                raise UnusableJwk("has the name of another")
            keys[name] = key
        except UnusableJwk as reason:
            left_out.append(f"Key {place} of the set {reason}.")
    return KeySet(keys.values(), left_out)


def strict_object(text: bytes) -> dict[str, Any]:
    """Parse a JSON object that every parser reads alike; raises ValueError.

    orjson refuses what is not UTF-8, half surrogates, NaN and numbers that overflow, but keeps the last of two members
    of one name; json shows both, and keeps every digit of an integer.
    """
    orjson.loads(text)
    try:
        parsed = json.loads(text.decode(), object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    if not isinstance(parsed, dict):
        raise ValueError("It is no object.")  # noqa: TRY004 - callers ask one thing: is it one?
    level: list[Any] = [parsed]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
    if level:
        raise ValueError("It is nested too deeply.")
    return parsed


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("A name stands twice.")
    return members


def _key(entry: Any) -> VerifyingKey:
    if not isinstance(entry, dict):
        raise UnusableJwk("is no object")
    algorithm = _algorithm(entry)
    _check_purpose(entry, algorithm)
    kid = entry.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID):
        raise UnusableJwk(f"has a kid that is not text of 1 to {MAX_KID} characters")
    material = tuple(part for name in _MATERIAL[algorithm] if isinstance(part := entry.get(name), str))
    if len(material) != len(_MATERIAL[algorithm]):
        raise UnusableJwk(f"lacks {' or '.join(_MATERIAL[algorithm])}")
    if algorithm == "RS256":
        _check_rsa(*material)
    public = {name: entry[name] for name in ("kty", "crv", *_MATERIAL[algorithm]) if name in entry}
    try:
        key = PyJWK(public, algorithm)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
        raise UnusableJwk("is no valid key of its type") from None
    return VerifyingKey(kid, algorithm, material, key)


def _algorithm(entry: dict[str, Any]) -> str:
    """The one algorithm that a key of this type checks: the token has no say in it."""
    kind, curve = entry.get("kty"), entry.get("crv")
    if kind == "oct":
        raise UnusableJwk("is a secret, which a key set may not hold: use READSIDE_JWT_SECRET")
    if kind == "RSA":
        return "RS256"
    if (kind, curve) == ("EC", "P-256"):
        return "ES256"
    if (kind, curve) == ("OKP", "Ed25519"):
        return "EdDSA"
    raise UnusableJwk("is of no type that is used here: RSA, EC with P-256, or OKP with Ed25519")


def _check_purpose(entry: dict[str, Any], algorithm: str) -> None:
    if any(name in entry for name in _PRIVATE):
        raise UnusableJwk("is a private key, which a key set must not show: make another, and publish its public half")
    if entry.get("alg", algorithm) != algorithm:
        raise UnusableJwk(f"is meant for another algorithm (alg) than {algorithm}, which its type is used for")
    if entry.get("use", "sig") != "sig":
        raise UnusableJwk("is not meant for signatures (use)")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnusableJwk("is not meant to check signatures (key_ops)")


def _check_rsa(modulus: str, exponent: str) -> None:
    """Look at the sizes before a key is made of them."""
    bits, exponent_bits = _bits(modulus), _bits(exponent)
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise UnusableJwk(f"is an RSA key of {bits} bits; used are {MIN_RSA_BITS} to {MAX_RSA_BITS}")
    if exponent_bits > MAX_EXPONENT_BITS:
        raise UnusableJwk(f"has an RSA exponent of {exponent_bits} bits; used are {MAX_EXPONENT_BITS} at most")


def _bits(number: str) -> int:
    try:
        raw = base64.b64decode(number.encode() + b"=" * (-len(number) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise UnusableJwk("is not base64url") from None
    return int.from_bytes(raw, "big").bit_length()
