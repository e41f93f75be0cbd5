"""Who signs tokens in tests: keys of each type, made once, and tokens as a backend would mint them."""

import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as new_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
OTHER_SESSION = "11111111-1111-4111-8111-111111111111"
SECRET = "a-secret-of-tests-that-is-long-enough"
OTHER_SECRET = "another-secret-of-tests-long-enough"

Key = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey | str


class Signer(NamedTuple):
    """A key, the algorithm that it signs with, and its name in a key set."""

    algorithm: str
    kid: str | None
    key: Key

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half as an entry of a key set."""
        numbers: dict[str, Any]
        if isinstance(self.key, Ed25519PrivateKey):
            numbers = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        elif isinstance(self.key, EllipticCurvePrivateKey):
            numbers = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        elif isinstance(self.key, RSAPrivateKey):
            numbers = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            numbers = HMACAlgorithm.to_jwk(self.key, as_dict=True)
        return numbers | {"kid": self.kid} if self.kid else numbers

    @property
    def pem(self) -> bytes:
        """Its public half as others publish it."""
        assert not isinstance(self.key, str)
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(self, claims: Mapping[str, Any], **header: Any) -> bytes:
        """Sign claims; a header of None leaves out what stands there otherwise."""
        return self.sign(json.dumps(claims).encode(), **header)

    def sign(self, payload: bytes, **header: Any) -> bytes:
        """Sign any bytes."""
        return self.sign_under(json.dumps(self.header(**header)).encode(), payload)

    def header(self, **changes: Any) -> dict[str, Any]:
        """Build the header that names this key."""
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **changes}
        return {name: value for name, value in header.items() if value is not None}

    def sign_under(self, header: bytes, payload: bytes) -> bytes:
        """Sign any bytes under any header, which PyJWT itself would refuse to."""
        signed = base64url(header) + b"." + base64url(payload)
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        return signed + b"." + base64url(algorithm.sign(signed, algorithm.prepare_key(self.key)))


@cache
def ed25519(kid: str | None = "ed") -> Signer:
    """A key for EdDSA."""
    return Signer("EdDSA", kid, Ed25519PrivateKey.generate())


@cache
def p256(kid: str | None = "es") -> Signer:
    """A key for ES256."""
    return Signer("ES256", kid, new_ec_key(SECP256R1()))


@cache
def rsa(kid: str | None = "rs", bits: int = 2048) -> Signer:
    """A key for RS256."""
    return Signer("RS256", kid, new_rsa_key(65_537, bits))


def shared(secret: str = SECRET) -> Signer:
    """A secret for HS256."""
    return Signer("HS256", None, secret)


def claims(session: str = SESSION, *, ttl_seconds: float = 600, **changes: Any) -> dict[str, Any]:
    """What a good token says; a change to None leaves a claim out."""
    now = int(time.time())
    good = {"aud": "readside", "sub": "ada", "iat": now, "exp": now + ttl_seconds, "sessions": [session], **changes}
    return {name: value for name, value in good.items() if value is not None}


def key_set(*signers: Signer, **members: Any) -> bytes:
    """The public halves as a JWKS; `members` stand in each entry."""
    return json.dumps({"keys": [signer.jwk | members for signer in signers]}).encode()


def base64url(data: bytes) -> bytes:
    """Encode as JWTs do."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")
