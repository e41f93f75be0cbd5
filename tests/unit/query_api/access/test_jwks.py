"""Key sets: which keys are used, for which algorithm, and why others are not."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.access.jwks import MAX_BYTES, MAX_KEYS, KeySet, UnreadableJwks, parse_jwks
from tests.support.signing import base64url, ed25519, key_set, p256, rsa, shared

ED, ES, RS = ed25519().jwk, p256().jwk, rsa().jwk
BIG = {"kty": "RSA", "e": "AQAB", "kid": "big"}


def of(*entries: object) -> KeySet:
    """Parse a set of these entries."""
    return parse_jwks(json.dumps({"keys": entries}).encode())


def number(bits: int) -> str:
    """A number of so many bits, odd, as sets spell it."""
    return base64url((1 << (bits - 1) | 1).to_bytes((bits + 7) // 8, "big")).decode()


def test_each_type_has_one_algorithm() -> None:
    """A key's type decides what it checks."""
    assert [(key.kid, key.algorithm) for key in of(ED, ES, RS).keys] == [
        ("ed", "EdDSA"),
        ("es", "ES256"),
        ("rs", "RS256"),
    ]


def test_what_a_key_says_of_itself_is_honoured() -> None:
    """Members that agree with its type change nothing, and those that nobody here reads neither."""
    entry = RS | {"alg": "RS256", "use": "sig", "key_ops": ["verify"], "x5t": "abc", "x5c": ["MIIB"], "more": {"a": 1}}

    assert of(entry).same(of(RS))
    assert of(entry).left_out == ()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (RS | {"alg": "PS256"}, "another algorithm"),
        (RS | {"alg": "HS256"}, "another algorithm"),
        (ES | {"alg": "EdDSA"}, "another algorithm"),
        (ED | {"use": "enc"}, "not meant for signatures (use)"),
        (ED | {"key_ops": ["sign"]}, "key_ops"),
        (ED | {"key_ops": "verify"}, "key_ops"),
        (shared().jwk, "is a secret"),
        (shared().jwk | {"kid": "s", "alg": "HS256"}, "is a secret"),
        (ED | {"d": "AAAA"}, "is a private key"),
        (RS | {"d": "AAAA", "p": "AAAA"}, "is a private key"),
        (ES | {"crv": "P-384"}, "of no type"),
        (ES | {"crv": "secp256k1"}, "of no type"),
        (ED | {"crv": "Ed448"}, "of no type"),
        (ED | {"crv": "X25519"}, "of no type"),
        (ED | {"kty": "oKP"}, "of no type"),
        (ED | {"kty": ["OKP"]}, "of no type"),
        ({}, "of no type"),
        ("ed", "is no object"),
        (None, "is no object"),
        (ED | {"x": None}, "lacks x"),
        (ES | {"y": 7}, "lacks x or y"),
        (ED | {"x": "AAAA"}, "no valid key"),
        (ED | {"x": "é"}, "no valid key"),
        (ES | {"x": ES["y"]}, "no valid key"),
        (RS | {"n": number(1024)}, "1024 bits"),
        (RS | {"n": number(2047)}, "2047 bits"),
        (RS | {"n": number(8193)}, "8193 bits"),
        (RS | {"n": number(1_000_000)}, "1000000 bits"),
        (RS | {"e": number(33)}, "exponent of 33 bits"),
        (RS | {"n": "!!!!"}, "not base64url"),
        (RS | {"e": "AA"}, "no valid key"),
        (RS | {"kid": 7}, "has a kid"),
        (RS | {"kid": ""}, "has a kid"),
        (RS | {"kid": "k" * 201}, "has a kid"),
    ],
)
def test_a_key_that_is_left_out(entry: Any, why: str) -> None:
    """It is named by its place, with the reason, and the others are used."""
    keys = of(ES | {"kid": "first"}, entry)

    assert [key.kid for key in keys.keys] == ["first"]
    assert [why in reason and reason.startswith("Key 2 of the set ") for reason in keys.left_out] == [True]
    assert all(len(reason) < 150 for reason in keys.left_out)


@pytest.mark.parametrize("bits", [2048, 3072, 8192])
def test_rsa_keys_that_are_long_enough(bits: int) -> None:
    """The bounds belong to it."""
    assert of(BIG | {"n": number(bits)}).left_out == ()


def test_the_longest_set_that_is_taken() -> None:
    """So many bytes and so many keys, with the longest of names, belong to what is allowed."""
    document = json.dumps({"keys": [ED | {"kid": f"{place:0200}"} for place in range(MAX_KEYS)]}).encode()
    keys = parse_jwks(document.ljust(MAX_BYTES))

    assert (len(keys.keys), keys.left_out) == (MAX_KEYS, ())


def test_the_longest_exponent_that_is_taken() -> None:
    """32 bits still belong to it."""
    assert of(RS | {"e": number(32)}).left_out == ()


def test_two_keys_of_one_name() -> None:
    """The first is used: which of them a token means cannot be told. Of two types both are."""
    keys = of(ED, ed25519("newer").jwk | {"kid": "ed"}, ES | {"kid": "ed"})

    assert keys.left_out == ("Key 2 of the set has the name of another.",)
    assert keys.same(of(ED, ES | {"kid": "ed"}))


def test_keys_without_a_name() -> None:
    """Several may be there; the same one twice is one."""
    unnamed = [ed25519(None).jwk, p256(None).jwk, ed25519(None).jwk]

    assert [key.algorithm for key in of(*unnamed).keys] == ["EdDSA", "ES256"]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (key_set(ed25519())[:-1], "no JSON object"),
        (b'{"keys":[],"keys":[]}', "no JSON object"),
        (b'{"keys":' + b"[" * 500_000, "no JSON object"),
        (b'{"keys":' + b"[" * 900 + b"]" * 900 + b"}", "no JSON object"),
        (b"{}", "no list of keys"),
        (b'{"keys":{"kty":"OKP"}}', "no list of keys"),
        (json.dumps({"keys": [ED] * (MAX_KEYS + 1)}).encode(), "at most 100"),
        (b" " * (MAX_BYTES + 1), "longer than 1 MB"),
    ],
    ids=range(10),
)
def test_what_is_no_key_set(document: bytes, why: str) -> None:
    """It is refused whole, in a sentence."""
    with pytest.raises(UnreadableJwks, match=why):
        parse_jwks(document)


def test_an_empty_set() -> None:
    """An issuer may withdraw all that it had."""
    assert parse_jwks(b'{"keys":[]}').keys == ()


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"]),
            st.one_of(
                st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", ED["x"], ES["x"], ES["y"], RS["n"]]),
                st.none(),
                st.integers(),
                st.text(max_size=20),
                st.lists(st.text(max_size=5), max_size=2),
            ),
        ),
        max_size=4,
    )
)
def test_any_entries_at_all(entries: list[dict[str, Any]]) -> None:
    """A set that can be read never fails: each entry is used, or left out with a reason."""
    keys = of(*entries)

    assert len(keys.keys) + len(keys.left_out) == len(entries)
