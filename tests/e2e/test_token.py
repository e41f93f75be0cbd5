"""`readside token` as people run it: what it prints is a token that is believed."""

import asyncio
import time
from pathlib import Path

import jwt
import pytest

from query_api.access.token_config import TokenConfig
from query_api.access.tokens import Claims, Tokens
from tests.support.commanding import Site
from tests.support.signing import OTHER_SECRET, OTHER_SESSION, SECRET, SESSION, ed25519, key_set

SIGNING = Site({"JWT_SECRET": SECRET})


async def minted(*arguments: str, site: Site = SIGNING) -> str:
    """Mint a token, which must be all that is printed."""
    ended = await site.run("token", *arguments)
    assert (ended.code, ended.err) == (0, ""), ended
    assert ended.out.count("\n") == 1
    return ended.out.rstrip("\n")


def believed(token: str, config: TokenConfig) -> Claims:
    """What a service that is configured so takes it for."""
    return Tokens(config).claims(token.encode(), time.time())


async def test_a_token_for_sessions() -> None:
    """It opens those sessions for an hour, and no other; ids may be spelt in capitals, and twice."""
    before = int(time.time())
    token = await minted(SESSION.upper(), OTHER_SESSION, SESSION)
    said = believed(token, TokenConfig(secrets=(SECRET.encode(),)))

    assert (said.subject, said.sessions) == (None, frozenset({SESSION, OTHER_SESSION}))
    assert before + 3600 <= said.expires_at <= time.time() + 3600
    assert jwt.get_unverified_header(token)["alg"] == "HS256"


async def test_a_token_for_somebody() -> None:
    """For every session, with an end and a name of its own, for the audience and from the issuer that are set."""
    site = SIGNING.with_settings(JWT_AUDIENCE="shop", JWT_ISSUER="https://i.example")
    token = await minted("*", "--ttl", "60", "--subject", "ada", site=site)
    said = believed(token, TokenConfig("", (SECRET.encode(),), "shop", "https://i.example"))

    assert (said.subject, said.sessions) == ("ada", None)
    assert 0 < said.expires_at - time.time() <= 60


async def test_the_first_of_several_secrets_signs() -> None:
    """While one takes the other's place, the new one stands first."""
    token = await minted("*", site=Site({"JWT_SECRET": f"{OTHER_SECRET}\n{SECRET}"}))

    assert believed(token, TokenConfig(secrets=(OTHER_SECRET.encode(),))).sessions is None


async def test_what_cannot_be_minted(tmp_path: Path) -> None:
    """One clear line each, and no token."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(key_set(ed25519()))
    many = [f"{OTHER_SESSION[:-2]}{n:02}" for n in range(65)]
    cases = [
        (Site({}), ["*"], "READSIDE_JWT_SECRET is not set; it must be the secret that signs tokens."),
        (Site({"JWT_JWKS": str(jwks)}), ["*"], "READSIDE_JWT_SECRET is not set;"),
        (Site({"JWT_SECRET": "short"}), ["*"], "READSIDE_JWT_SECRET holds a secret of 5 bytes;"),
        (SIGNING, ["nope"], "The session id 'nope' is not a UUID"),
        (SIGNING, ["*", SESSION], "Name sessions, or give '*' for every one, not both."),
        (SIGNING, many, "65 sessions are named; a token holds 64 at most."),
        (SIGNING, ["*", "--subject", ""], "--subject must be 1 to 255 printable characters."),
        (SIGNING, ["*", "--subject", "a\nb"], "--subject must be 1 to 255 printable characters."),
    ]
    endings = await asyncio.gather(*(site.run("token", *arguments) for site, arguments, _ in cases))

    for (_, arguments, says), ended in zip(cases, endings, strict=True):
        assert ended.refusal().startswith(says), arguments


@pytest.mark.parametrize("ttl", ["0", "-1", "2592001", "an hour", "1.5"])
async def test_an_end_that_is_none(ttl: str) -> None:
    """Told as a mistake of typing."""
    ended = await SIGNING.run("token", "*", "--ttl", ttl)

    assert (ended.code, ended.out) == (2, "")
    assert "--ttl" in ended.err
