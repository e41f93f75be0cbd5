"""Tokens that must open nothing: each by its name, what it is answered with, and what the sentence says."""

import hashlib
import hmac
import json
import time
from typing import Any, NamedTuple

from tests.support.signing import (
    OTHER_SECRET,
    OTHER_SESSION,
    SESSION,
    Signer,
    base64url,
    claims,
    ed25519,
    key_set,
    p256,
    rsa,
    shared,
)

AUDIENCE, ISSUER = "readside", "https://issuer.example"
SHAPE = "three parts of base64url"
UNREADABLE_HEADER = "The token's header is no JSON object"
UNREADABLE_CLAIMS = "The token's claims are no JSON object"
SIGNATURE = "signature is not of a key"
ALGORITHM = "algorithm (alg)"
IDS = "sessions must be a list of at most 64 ids"


class HostileToken(NamedTuple):
    """One of them: `status` is what the API answers when it is used to poll SESSION, `says` a part of the sentence."""

    name: str
    token: bytes
    status: int
    says: str


class Minter(NamedTuple):
    """The service that is attacked believes these keys (all in its key set but the secret), and ISSUER alone."""

    ed: Signer
    es: Signer
    rs: Signer
    hs: Signer

    @property
    def jwks(self) -> bytes:
        """What stands in its key set."""
        return key_set(self.ed, self.es, self.rs)

    @property
    def secret(self) -> str:
        """What stands in its settings."""
        assert isinstance(self.hs.key, str)
        return self.hs.key

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says, for a day: those that are made before the first test are shown by the last."""
        return claims(iss=ISSUER, ttl_seconds=86_400) | changes

    def without(self, name: str) -> dict[str, Any]:
        """The same but for one claim."""
        return {other: value for other, value in self.claims().items() if other != name}

    def good(self) -> dict[str, bytes]:
        """A good token by each key, which opens SESSION."""
        return {signer.algorithm: signer.token(self.claims()) for signer in self}


def minter() -> Minter:
    """Make the keys, once."""
    return Minter(ed25519(), p256(), rsa(), shared())


def hostile_tokens(minter: Minter) -> list[HostileToken]:
    """Every one of them."""
    unauthorized = {
        **_shapes(minter),
        **_algorithms(minter),
        **_keys(minter),
        **_headers(minter),
        **_times(minter),
        **_parties(minter),
        **_sessions(minter),
        **_payloads(minter),
    }
    forbidden = {
        "another session": minter.ed.token(minter.claims(sessions=[OTHER_SESSION])),
        "no session at all": minter.ed.token(minter.claims(sessions=[])),
        "64 other sessions": minter.ed.token(
            minter.claims(sessions=[f"{OTHER_SESSION[:-2]}{n:02}" for n in range(64)])
        ),
    }
    return [
        *(HostileToken(name, token, 401, says) for name, (token, says) in unauthorized.items()),
        *(HostileToken(name, token, 403, "does not name this session") for name, token in forbidden.items()),
    ]


_Cases = dict[str, tuple[bytes, str]]


def _shapes(minter: Minter) -> _Cases:
    good = minter.ed.token(minter.claims())
    header, payload, signature = good.split(b".")
    inner = minter.ed.token(minter.claims())
    return {
        "two parts": (header + b"." + payload, SHAPE),
        "five parts, encrypted": (b".".join([header, b"", payload, payload, signature]), SHAPE),
        "five full parts": (b".".join([header, payload, payload, payload, signature]), SHAPE),
        "no signature": (header + b"." + payload + b".", SHAPE),
        "dots alone": (b"...", SHAPE),
        "padded": (good + b"=", SHAPE),
        "plus and slash": (header + b"." + payload + b"." + b"+/" + signature[2:], SHAPE),
        "not ASCII": (header + b"." + payload + b"." + signature[:-2] + "é".encode(), SHAPE),
        "a null byte": (header + b"." + payload + b"." + signature[:-1] + b"\0", SHAPE),
        "longer than 8 kB": (minter.ed.token(minter.claims(more="x" * 8_000)), "longer than 8000 bytes"),
        "a megabyte of dots": (b"." * 60_000, "longer than 8000 bytes"),
        "a token in a token": (minter.ed.sign(inner, cty="JWT"), "header has cty"),
        "a token as claims": (minter.ed.sign(inner), UNREADABLE_CLAIMS),
    }


def _algorithms(minter: Minter) -> _Cases:
    said = json.dumps(minter.claims()).encode()
    unsigned = base64url(b'{"alg":"none","typ":"JWT"}') + b"." + base64url(said)
    public = Signer("HS256", None, "")  # its key is what an attacker can know
    return {
        "none": (unsigned + b".AAAA", ALGORITHM),
        "none, without a signature": (unsigned + b".", SHAPE),
        "None in capitals": (base64url(b'{"alg":"NONE"}') + b"." + base64url(said) + b".AAAA", ALGORITHM),
        "no algorithm": (minter.ed.sign(said, alg=None), ALGORITHM),
        "an algorithm that is a list": (minter.ed.sign(said, alg=["EdDSA"]), ALGORITHM),
        "an algorithm that is a number": (minter.ed.sign(said, alg=256), ALGORITHM),
        "small letters": (minter.ed.sign(said, alg="eddsa"), ALGORITHM),
        "HS512 by the secret": (minter.hs.sign(said, alg="HS512"), ALGORITHM),
        "PS256 by the RSA key": (minter.rs.sign(said, alg="PS256"), ALGORITHM),
        "HMAC with the public key": (_hmac(public, minter.rs.pem, said, kid=minter.rs.kid), SIGNATURE),
        "HMAC with the public key's numbers": (_hmac(public, minter.ed.jwk["x"].encode(), said), SIGNATURE),
        "HMAC with the key set": (_hmac(public, minter.jwks, said), SIGNATURE),
        "HMAC with nothing": (_hmac(public, b"", said), SIGNATURE),
        "RS256 under the name of the Ed25519 key": (minter.rs.sign(said, kid=minter.ed.kid), ALGORITHM),
        "EdDSA said to be ES256": (minter.ed.sign(said, alg="ES256", kid=minter.es.kid), SIGNATURE),
    }


def _keys(minter: Minter) -> _Cases:
    said = minter.claims()
    foreign = ed25519("foreign")
    return {
        "another's key under our name": (foreign.token(said, kid=minter.ed.kid), SIGNATURE),
        "another's secret": (shared(OTHER_SECRET).token(said), SIGNATURE),
        "a key that is not known": (foreign.token(said), "names a key (kid) that is not known"),
        "a kid that is a path": (
            foreign.token(said, kid="../../../../dev/null"),
            "names a key (kid) that is not known",
        ),
        "a kid that is SQL": (foreign.token(said, kid="x' UNION SELECT 'key"), "names a key (kid) that is not known"),
        "a kid that is a list": (foreign.token(said, kid=["ed"]), "kid must be text"),
        "a kid of a thousand characters": (foreign.token(said, kid="k" * 1_000), "kid must be text"),
        "its own key in the header": (foreign.token(said, kid=minter.ed.kid, jwk=foreign.jwk), SIGNATURE),
        "its own key in the header, unnamed": (foreign.token(said, kid=None, jwk=foreign.jwk), SIGNATURE),
        "where its key is": (foreign.token(said, kid=None, jku="http://127.0.0.1:9/jwks.json"), SIGNATURE),
        "its own certificate": (
            foreign.token(said, kid=None, x5c=["MIIB"], x5u="http://127.0.0.1:9/x.pem"),
            SIGNATURE,
        ),
        "a signature cut off": (minter.es.token(said)[:-22], SIGNATURE),  # 48 bytes of 64
        "a signature of zeros": (minter.es.token(said).rpartition(b".")[0] + b"." + base64url(bytes(64)), SIGNATURE),
        "others' claims under our signature": (_swapped(minter), SIGNATURE),
    }


def _headers(minter: Minter) -> _Cases:
    said = json.dumps(minter.claims()).encode()
    key = minter.ed
    cases = {
        "critical extensions": (key.sign(said, crit=["exp"], exp=9), "header has crit"),
        "a payload that is not encoded": (key.sign(said, crit=["b64"], b64=False), "header has crit"),
        "b64 alone": (key.sign(said, b64=False), "header has b64"),
        "b64 that is true": (key.sign(said, b64=True), "header has b64"),
        "encrypted, it says": (key.sign(said, enc="A256GCM"), "header has enc"),
    }
    unreadable = {
        "a header that is a list": b'["EdDSA"]',
        "a header that is no JSON": b"alg: EdDSA",
        "a header with alg twice": b'{"alg":"none","alg":"EdDSA","kid":"ed"}',
        "a header in UTF-16": '{"alg":"EdDSA","kid":"ed"}'.encode("utf-16"),
        "a header nested deeply": b'{"alg":"EdDSA","a":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    }
    return cases | {name: (key.sign_under(header, said), UNREADABLE_HEADER) for name, header in unreadable.items()}


def _times(minter: Minter) -> _Cases:
    now = time.time()
    instants = {
        name: (minter.ed.token(minter.claims(exp=value)), "exp is not a number of seconds")
        for name, value in {
            "an end in words": "tomorrow",
            "an end that is digits in text": str(int(now) + 600),
            "an end that is true": True,
            "an end that is null": None,
            "an end that is a list": [now + 600],
            "an end before 1970": -1,
            "an end after the year 9999": 10**12,
            "an end of 400 digits": 10**300,
        }.items()
    }
    return instants | {
        "expired": (minter.ed.token(minter.claims(exp=int(now) - 1)), "has expired"),
        "expired a second ago, by a fraction": (minter.ed.token(minter.claims(exp=now - 0.001)), "has expired"),
        "without an end": (minter.ed.token(minter.without("exp")), "has no end (exp)"),
        "not yet": (minter.ed.token(minter.claims(nbf=now + 43_200)), "not valid yet (nbf)"),
        "not yet, in words": (minter.ed.token(minter.claims(nbf="soon")), "nbf is not a number of seconds"),
        "minted tomorrow": (minter.ed.token(minter.claims(iat=now + 86_400)), "not valid yet (iat)"),
        "minted in words": (minter.ed.token(minter.claims(iat="today")), "iat is not a number of seconds"),
    }


def _parties(minter: Minter) -> _Cases:
    not_meant, not_from = "not meant for this service (aud)", "not from the issuer"
    return {
        "another audience": (minter.ed.token(minter.claims(aud="billing")), not_meant),
        "a list of other audiences": (minter.ed.token(minter.claims(aud=["billing", "readside-not"])), not_meant),
        "an audience that contains ours": (minter.ed.token(minter.claims(aud="xreadsidex")), not_meant),
        "an audience in a map": (minter.ed.token(minter.claims(aud={"readside": True})), not_meant),
        "audiences that are no text": (minter.ed.token(minter.claims(aud=["readside", 1])), not_meant),
        "without an audience": (minter.ed.token(minter.without("aud")), not_meant),
        "another issuer": (minter.ed.token(minter.claims(iss="https://issuer.example.evil")), not_from),
        "issuers in a list": (minter.ed.token(minter.claims(iss=[ISSUER])), not_from),
        "without an issuer": (minter.ed.token(minter.without("iss")), not_from),
        "a subject that is a number": (minter.ed.token(minter.claims(sub=7)), "sub must be text"),
        "an empty subject": (minter.ed.token(minter.claims(sub="")), "sub must be text"),
        "a subject with a line break": (minter.ed.token(minter.claims(sub="ada\nroot")), "sub must be text"),
        "a subject of a thousand characters": (minter.ed.token(minter.claims(sub="a" * 1_000)), "sub must be text"),
    }


def _sessions(minter: Minter) -> _Cases:
    entry = "an entry that is no session id"
    named = {
        "without sessions": (minter.without("sessions"), IDS),
        "sessions that are text": (minter.claims(sessions=SESSION), IDS),
        "sessions that are two stars": (minter.claims(sessions="**"), IDS),
        "sessions that are true": (minter.claims(sessions=True), IDS),
        "sessions that are null": (minter.claims(sessions=None), IDS),
        "sessions in a map": (minter.claims(sessions={SESSION: True}), IDS),
        "65 sessions": (minter.claims(sessions=[SESSION] * 65), IDS),
        "a star in a list": (minter.claims(sessions=["*"]), entry),
        "a session in a list in a list": (minter.claims(sessions=[[SESSION]]), entry),
        "a session that is a number": (minter.claims(sessions=[7]), entry),
        "a session with a blank": (minter.claims(sessions=[f"{SESSION} "]), entry),
        "a pattern of sessions": (minter.claims(sessions=["7d444840-*"]), entry),
    }
    return {name: (minter.ed.token(said), says) for name, (said, says) in named.items()}


def _payloads(minter: Minter) -> _Cases:
    said = json.dumps(minter.claims()).encode()
    payloads = {
        "claims that are a list": b"[" + said + b"]",
        "claims that are text": b'"readside"',
        "claims that are nothing": b" ",
        "claims cut off": said[:-1],
        "two claims sets": said + said,
        "sessions twice": said[:-1] + b',"sessions":"*"}',
        "exp twice": said[:-1] + b',"exp":99999999999}',
        "a member of a member twice": said[:-1] + b',"x":{"a":1,"a":2}}',
        "an end that is not a number": said[:-1] + b',"x":NaN}',
        "an end without end": said[:-1] + b',"x":Infinity}',
        "a number that overflows": said[:-1] + b',"x":1e999}',
        "a number of 5,000 digits": said[:-1] + b',"x":' + b"9" * 5_000 + b"}",
        "lists nested 2,000 deep": said[:-1] + b',"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
        "maps nested 900 deep": said[:-1] + b',"x":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        "lists nested 20 deep": said[:-1] + b',"x":' + b"[" * 20 + b"]" * 20 + b"}",
        "claims in Latin-1": said[:-1] + b',"x":"\xe9"}',
        "claims in UTF-16": said.decode().encode("utf-16"),
        "half a surrogate": said[:-1] + b',"sub":"\\ud800"}',
        "a byte order mark": b"\xef\xbb\xbf" + said,
        "claims with a comment": said[:-1] + b"/* */}",
    }
    return {name: (minter.ed.sign(payload), UNREADABLE_CLAIMS) for name, payload in payloads.items()}


def _hmac(signer: Signer, key: bytes, said: bytes, **header: Any) -> bytes:
    """Sign with bytes that PyJWT itself refuses to take for a secret."""
    signed = base64url(json.dumps(signer.header(**header)).encode()) + b"." + base64url(said)
    return signed + b"." + base64url(hmac.digest(key, signed, hashlib.sha256))


def _swapped(minter: Minter) -> bytes:
    header, _, signature = minter.ed.token(minter.claims()).split(b".")
    return b".".join([header, base64url(json.dumps(minter.claims(sessions="*")).encode()), signature])
