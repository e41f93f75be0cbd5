"""Tokens: what a good one says, and that no other says anything."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.access.jwks import MAX_KID
from query_api.access.token_config import MIN_SECRET_BYTES, TokenConfig
from query_api.access.tokens import (
    CLOCKS_DIFFER_SECONDS,
    MAX_BYTES,
    MAX_SESSIONS,
    MAX_SUBJECT,
    REASONS,
    BadToken,
    Claims,
    KeyNotKnown,
    Tokens,
)
from readmodel.errors import ConfigurationError
from tests.support.hostile_tokens import ISSUER, HostileToken, Minter, hostile_tokens, minter
from tests.support.signing import OTHER_SECRET, OTHER_SESSION, SECRET, SESSION, claims, ed25519, key_set, rsa, shared

MINTER = minter()
HOSTILE = hostile_tokens(MINTER)
AlgorithmOf = Callable[[Minter], bytes]


@pytest.fixture
async def tokens(tmp_path: Path) -> Tokens:
    """A service that believes the minter's keys and its secret, from one issuer."""
    return await believing(tmp_path, MINTER.jwks, (MINTER.secret,), issuer=ISSUER)


async def believing(
    directory: Path, jwks: bytes = b"", secrets: tuple[str, ...] = (), *, issuer: str = "", audience: str = "readside"
) -> Tokens:
    """A service that has read its keys."""
    path = directory / "jwks.json"
    path.write_bytes(jwks)
    encoded = tuple(secret.encode() for secret in secrets)
    tokens = Tokens(TokenConfig(str(path) if jwks else "", encoded, audience, issuer))
    await tokens.begin()
    return tokens


def verdict(tokens: Tokens, token: bytes, now: float | None = None) -> BadToken:
    """What is wrong with a token."""
    try:
        tokens.claims(token, time.time() if now is None else now)
    except BadToken as bad:
        return bad
    pytest.fail(f"{token!r} is believed.")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HS256"])
async def test_a_good_token(tokens: Tokens, algorithm: str) -> None:
    """Each configured key opens what its token names, until it ends."""
    said = MINTER.claims()
    signer = next(signer for signer in MINTER if signer.algorithm == algorithm)

    assert tokens.claims(signer.token(said), time.time()) == Claims("ada", frozenset({SESSION}), said["exp"])


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
async def test_a_hostile_token(tokens: Tokens, hostile: HostileToken) -> None:
    """None opens the session: it is refused in one sentence, or is good for other sessions alone."""
    if hostile.status == 401:
        bad = verdict(tokens, hostile.token)
        assert hostile.says in str(bad)
        assert bad.reason in REASONS
    else:
        named = tokens.claims(hostile.token, time.time()).sessions
        assert named is not None
        assert SESSION not in named


async def test_a_sentence_repeats_nothing_of_a_token(tokens: Tokens) -> None:
    """Whatever a token holds, what is said about it is one short line of ours."""
    sentences = {str(verdict(tokens, hostile.token)) for hostile in HOSTILE if hostile.status == 401}

    assert [sentence for sentence in sentences if len(sentence) > 120 or not sentence.endswith(".")] == []
    assert [sentence for sentence in sentences if not sentence.isascii() or "dev/null" in sentence] == []


def test_hostile_tokens_have_names_of_their_own() -> None:
    """There are thirty at least, and each can be told from the others."""
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 30
    assert len({hostile.token for hostile in HOSTILE}) == len(HOSTILE)


async def test_every_reason_but_those_of_keys_is_met(tokens: Tokens) -> None:
    """The table reaches each way in which a token can be wrong."""
    met = {verdict(tokens, hostile.token).reason for hostile in HOSTILE if hostile.status == 401}

    assert met == set(REASONS) - {"no_keys"}


@pytest.mark.search
@pytest.mark.parametrize("signer", MINTER, ids=lambda signer: signer.algorithm)
async def test_a_token_that_was_changed_anywhere(tmp_path: Path, signer: object) -> None:
    """Whatever bits are turned, inserted or cut, it is a BadToken: never another error, and never believed."""
    tokens = await believing(tmp_path, MINTER.jwks, (MINTER.secret,), issuer=ISSUER)
    chosen = next(one for one in MINTER if one is signer)
    good, now = chosen.token(MINTER.claims()), time.time()

    @settings(max_examples=100, deadline=None, database=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["turn", "insert", "cut"]), st.integers(0, len(good) - 1), st.integers(0, 255)),
            min_size=1,
            max_size=4,
        )
    )
    def changed(changes: list[tuple[str, int, int]]) -> None:
        token = bytearray(good)
        for kind, place, value in changes:
            _change(token, kind, place, value)
        if token != good:
            assert verdict(tokens, bytes(token), now).reason in REASONS

    changed()


def _change(token: bytearray, kind: str, place: int, value: int) -> None:
    place = min(place, len(token) - 1)
    if kind == "turn":
        token[place] ^= 1 << (value % 8)
    elif kind == "insert":
        token.insert(place, value)
    else:
        del token[place : place + 1 + value % 16]
        token.extend(b"A" * (not token))


@pytest.mark.search
@pytest.mark.parametrize("signer", MINTER, ids=lambda signer: signer.algorithm)
async def test_every_single_bit_counts(tmp_path: Path, signer: object) -> None:
    """Turning any one bit of a good token makes it a bad one: two spellings of one token are not both believed."""
    tokens = await believing(tmp_path, MINTER.jwks, (MINTER.secret,), issuer=ISSUER)
    chosen = next(one for one in MINTER if one is signer)
    good, now = chosen.token(MINTER.claims()), time.time()
    for place in range(len(good)):
        for bit in range(8):
            token = bytearray(good)
            token[place] ^= 1 << bit

            assert verdict(tokens, bytes(token), now).reason in REASONS


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None, database=None)
def test_any_bytes_at_all(data: bytes) -> None:
    """What is no token is a BadToken."""
    assert verdict(Tokens(TokenConfig(secrets=(SECRET.encode(),))), data, 0).reason in REASONS


@given(st.binary(max_size=200), st.binary(max_size=400))
@settings(max_examples=100, deadline=None, database=None)
def test_any_bytes_under_a_good_signature(header: bytes, payload: bytes) -> None:
    """A minter that has gone mad does no harm: its tokens are bad, whatever stands in them."""
    tokens = Tokens(TokenConfig(secrets=(SECRET.encode(),)))

    assert verdict(tokens, shared().sign_under(header, payload), 0).reason in REASONS
    assert verdict(tokens, shared().sign(payload), 0).reason in REASONS


async def test_a_token_ends_when_it_says(tokens: Tokens) -> None:
    """It is good until the instant of `exp`, to the fraction of a second, and not at it."""
    token = MINTER.ed.token(MINTER.claims(iat=999, exp=1_000.5))

    assert tokens.claims(token, 1_000.499).expires_at == 1_000.5
    assert verdict(tokens, token, 1_000.5).reason == "expired"


@pytest.mark.parametrize("name", ["nbf", "iat"])
async def test_clocks_may_differ_a_little(tokens: Tokens, name: str) -> None:
    """A minter whose clock is ahead by a few seconds is not refused; one that is ahead by more is."""
    token = MINTER.ed.token(MINTER.claims(**{"iat": 0, name: 1_000}))

    assert tokens.claims(token, 1_000 - CLOCKS_DIFFER_SECONDS).subject == "ada"
    assert verdict(tokens, token, 1_000 - CLOCKS_DIFFER_SECONDS - 0.001).reason == "not_yet"


async def test_a_list_of_audiences(tokens: Tokens) -> None:
    """A token may be meant for several services."""
    assert tokens.claims(MINTER.es.token(MINTER.claims(aud=["billing", "readside"])), time.time()).subject == "ada"


async def test_an_audience_of_its_own(tmp_path: Path) -> None:
    """Two services that believe one signer are told apart."""
    tokens = await believing(tmp_path, secrets=(SECRET,), audience="shop")

    assert tokens.claims(shared().token(claims(aud="shop")), time.time()).subject == "ada"
    assert verdict(tokens, shared().token(claims())).reason == "audience"


async def test_any_issuer_where_none_is_set(tmp_path: Path) -> None:
    """Whoever can sign may issue."""
    tokens = await believing(tmp_path, secrets=(SECRET,))

    assert tokens.claims(shared().token(claims(iss="anybody")), time.time()).subject == "ada"


async def test_every_session(tokens: Tokens) -> None:
    """A star opens all of them."""
    assert tokens.claims(MINTER.ed.token(MINTER.claims(sessions="*")), time.time()).sessions is None


async def test_sessions_in_any_spelling(tokens: Tokens) -> None:
    """Ids are canonical, and a whole list of them fits."""
    ids = [f"{OTHER_SESSION[:-2]}{n:02}" for n in range(MAX_SESSIONS - 1)]
    token = MINTER.rs.token(MINTER.claims(sessions=[SESSION.upper(), *ids]))

    assert len(token) < MAX_BYTES
    assert tokens.claims(token, time.time()).sessions == frozenset({SESSION, *ids})


async def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    """The bounds of a kid and of a subject belong to what is allowed."""
    signer, subject = ed25519("k" * MAX_KID), "é" * MAX_SUBJECT
    tokens = await believing(tmp_path, key_set(signer))

    assert tokens.claims(signer.token(claims(sub=subject)), time.time()).subject == subject


async def test_nobody_by_name(tokens: Tokens) -> None:
    """A token needs no subject."""
    assert tokens.claims(MINTER.ed.token(MINTER.without("sub")), time.time()).subject is None


async def test_a_key_that_need_not_be_named(tmp_path: Path) -> None:
    """One key alone fits each algorithm here: a token may leave out its name."""
    tokens = await believing(tmp_path, key_set(MINTER.ed, rsa(None)))

    for signer in (MINTER.ed, rsa(None)):
        assert tokens.claims(signer.token(claims(), kid=None), time.time()).subject == "ada"


async def test_a_key_that_must_be_named(tmp_path: Path) -> None:
    """Where two keys would fit, a token says which."""
    tokens = await believing(tmp_path, key_set(MINTER.ed, ed25519("newer")))

    assert "more than one" in str(verdict(tokens, MINTER.ed.token(claims(), kid=None)))
    assert tokens.claims(ed25519("newer").token(claims()), time.time()).subject == "ada"


async def test_an_algorithm_that_no_key_is_for(tmp_path: Path) -> None:
    """A token that names no key is not told to come again for one of another type."""
    bad = verdict(await believing(tmp_path, key_set(MINTER.ed)), MINTER.es.token(claims(), kid=None))

    assert (type(bad), bad.reason) == (BadToken, "algorithm")


async def test_keys_that_were_never_read(tmp_path: Path) -> None:
    """It is not the token that is to blame: with a name of its key or without, it may come again."""
    tokens = await believing(tmp_path, b"{")
    named, unnamed = MINTER.ed.token(claims()), MINTER.ed.token(claims(), kid=None)
    verdicts = [verdict(tokens, named), verdict(tokens, unnamed)]
    await tokens.settled()
    verdicts += [verdict(tokens, named), verdict(tokens, unnamed)]

    assert [bad.reason for bad in verdicts] == ["no_keys"] * 4
    assert [type(bad) for bad in verdicts] == [KeyNotKnown, KeyNotKnown, BadToken, BadToken]


async def test_secrets_alone(tmp_path: Path) -> None:
    """Without a key set no other algorithm is believed, and nothing is fetched."""
    tokens = await believing(tmp_path, secrets=(SECRET,))

    assert verdict(tokens, MINTER.ed.token(claims())).reason == "algorithm"
    assert (tokens.keys, tokens.failures, tokens.age_seconds) == (1, 0, None)


async def test_without_a_key_set_there_is_nothing_to_keep_fresh() -> None:
    """What waits for keys returns at once."""
    tokens = Tokens(TokenConfig(secrets=(SECRET.encode(),)))
    async with asyncio.timeout(60):
        await tokens.begin()
        await tokens.run()
        await tokens.settled()

    assert tokens.keys == 1


def test_bounds_belong_to_what_is_allowed() -> None:
    """A token of 8,000 bytes is looked at, one byte more is not; a secret of 32 bytes signs."""
    secret = "x" * MIN_SECRET_BYTES
    tokens = Tokens(TokenConfig(secrets=(secret.encode(),)))
    token = shared(secret).token(claims())
    longest = token + b"A" * (MAX_BYTES - len(token))

    assert verdict(tokens, longest).reason != "too_long"
    assert verdict(tokens, longest + b"A").reason == "too_long"
    assert tokens.claims(token, time.time()).subject == "ada"


async def test_a_key_set_alone(tmp_path: Path) -> None:
    """Without a secret HS256 is not believed, whatever key is tried."""
    tokens = await believing(tmp_path, key_set(MINTER.rs))

    assert verdict(tokens, shared(MINTER.rs.jwk["n"]).token(claims())).reason == "algorithm"
    assert tokens.keys == 1


async def test_two_secrets_at_once(tmp_path: Path) -> None:
    """While one takes the other's place, both are believed; then the old one is not."""
    tokens, changes = await believing(tmp_path, secrets=(SECRET,)), []
    tokens.on_change = lambda: changes.append(tokens.keys)
    old, new = shared(SECRET).token(claims()), shared(OTHER_SECRET).token(claims())

    tokens.use_secrets((OTHER_SECRET.encode(), SECRET.encode()))
    assert [tokens.claims(token, time.time()).subject for token in (old, new)] == ["ada", "ada"]
    tokens.use_secrets((OTHER_SECRET.encode(),))
    assert tokens.claims(new, time.time()).subject == "ada"
    assert verdict(tokens, old).reason == "signature"
    tokens.use_secrets((OTHER_SECRET.encode(),))
    assert changes == [2, 1]


@pytest.mark.parametrize(
    "secret", [b"short", b"x" * 31, MINTER.rs.pem, MINTER.jwks], ids=["short", "31", "PEM", "JWKS"]
)
async def test_a_secret_that_is_none(tmp_path: Path, secret: bytes) -> None:
    """What is too short, or a key that others may know, is refused, and the old secret goes on."""
    tokens = await believing(tmp_path, secrets=(SECRET,))
    with pytest.raises(ConfigurationError, match="A secret for tokens"):
        tokens.use_secrets((OTHER_SECRET.encode(), secret))

    assert tokens.claims(shared().token(claims()), time.time()).subject == "ada"
    assert verdict(tokens, shared(OTHER_SECRET).token(claims())).reason == "signature"


async def test_what_others_mint(tmp_path: Path) -> None:
    """A token as PyJWT itself makes it is believed."""
    tokens = await believing(tmp_path, MINTER.jwks, (SECRET,))
    by_key = jwt.encode(claims(), MINTER.rs.key, algorithm="RS256", headers={"kid": "rs"})

    for token in (by_key, jwt.encode(claims(), SECRET)):
        assert tokens.claims(token.encode(), time.time()).subject == "ada"


async def test_an_unknown_key_is_looked_for(tokens: Tokens) -> None:
    """The first token that names one has the set read again; while that goes on, others wait with it."""
    tokens_of_foreign = [ed25519(f"foreign-{n}").token(MINTER.claims()) for n in range(3)]
    verdicts = [verdict(tokens, token) for token in tokens_of_foreign]
    await tokens.settled()

    assert [type(bad) for bad in verdicts] == [KeyNotKnown] * 3
    assert {bad.reason for bad in verdicts} == {"unknown_key"}
    assert type(verdict(tokens, tokens_of_foreign[0])) is BadToken


def test_a_token_of_random_letters_costs_little() -> None:
    """The longest that is looked at is judged in milliseconds, so that nobody can hold the loop with one."""
    tokens = Tokens(TokenConfig(secrets=tuple(f"{SECRET}{n}".encode() for n in range(4))))
    rng = random.Random(1)
    head, letters = shared().token({}).split(b".")[0], b"abcdefghijklmnopqrstuvwxyz"
    token = head + b"." + bytes(rng.choices(letters, k=MAX_BYTES - len(head) - 45)) + b"." + b"A" * 43
    took = []
    for _ in range(20):
        started = time.process_time()
        verdict(tokens, token, 0)
        took.append(time.process_time() - started)

    assert min(took) < 0.02
