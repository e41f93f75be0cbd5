"""Keys as people write them, in a variable or a file: what is admitted, and that no sentence shows one."""

import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from readmodel.errors import ConfigurationError
from readside.api_keys import MOST_KEYS, Keys, parse_keys, parse_keys_file, written_keys, written_keys_of_file

SECRET = "hunter2-and-some-more"
FINE = "a-key-that-is-long-enough"


def digest(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def refusal(parse: Callable[[str], Keys], text: str) -> str:
    """The sentence of a refusal, which shows no secret."""
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    sentence = str(caught.value)
    assert SECRET not in sentence
    assert SECRET not in repr(caught.value.__cause__)
    assert sentence.endswith(".")
    return sentence


def file_of(*entries: object) -> str:
    """A file's text."""
    return json.dumps(entries)


def test_keys_with_their_scopes() -> None:
    """`read` where none is given; only hashes are kept."""
    keys = parse_keys(f"dash:{FINE}1, ops:{FINE}2:read+ops ,jobs:{FINE}3:ops,")

    assert keys == {
        digest(f"{FINE}1"): ("dash", frozenset({"read"})),
        digest(f"{FINE}2"): ("ops", frozenset({"read", "ops"})),
        digest(f"{FINE}3"): ("jobs", frozenset({"ops"})),
    }


def test_keys_of_a_file() -> None:
    """The same, with keys that a variable could not hold, or with their digests alone."""
    odd = 'a:key,with"everything+in\\it'
    text = file_of(
        {"name": "dash", "key": odd},
        {"name": "ops", "key": FINE, "scopes": ["read", "ops"]},
        {"name": "jobs", "sha256": digest(SECRET).hex().upper(), "scopes": ["ops"]},
    )

    assert parse_keys_file(text) == {
        digest(odd): ("dash", frozenset({"read"})),
        digest(FINE): ("ops", frozenset({"read", "ops"})),
        digest(SECRET): ("jobs", frozenset({"ops"})),
    }


def test_two_keys_of_one_name() -> None:
    """The old one and the new one, while a key is changed."""
    keys = parse_keys(f"dash:{FINE},dash:{SECRET}")

    assert [name for name, _ in keys.values()] == ["dash", "dash"]


@pytest.mark.parametrize(
    "entry",
    [
        SECRET, f":{SECRET}", "name:", f"name:{SECRET}:admin", f"name:{SECRET}:read+", f"name:{SECRET}:read:ops",
        f"name:{SECRET}é", f"name:{SECRET} x", f"name:{SECRET}\x7f", f"name:{SECRET}\0", f"{SECRET}:read",
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_read(entry: str) -> None:
    """The entry's place is told, never its key."""
    assert refusal(parse_keys, f"ok:{FINE},{entry}").startswith("entry 2 of READSIDE_API_KEYS ")


@pytest.mark.parametrize(
    "entry",
    [
        SECRET, None, [SECRET], {}, {SECRET: "dash"}, {"name": "dash"}, {"key": SECRET}, {"name": "", "key": SECRET},
        {"name": "dash", "key": SECRET, "sha256": "0" * 64}, {"name": 3, "key": SECRET},
        {"name": "dash", "key": [SECRET]},
        {"name": "dash", "key": f"{SECRET} x"}, {"name": "dash", "key": f"{SECRET}\n"}, {"name": "dash", "key": ""},
        {"name": "dash", "key": f"{SECRET}\ud800"}, {"name": "dash", "sha256": "0" * 63}, {"name": "dash", "sha256": 0},
        {"name": "dash", "key": SECRET, "scopes": []}, {"name": "dash", "key": SECRET, "scopes": "read"},
        {"name": "dash", "key": SECRET, "scopes": [SECRET]}, {"name": "dash", "key": SECRET, "scopes": [["read"]]},
        {"name": SECRET, "key": "dash"}, {"name": "dash", "key": SECRET, "note": "x"},
        {"name": {"a": "b"}, "key": SECRET},
    ],
    ids=str,
)  # fmt: skip
def test_an_entry_of_a_file_that_cannot_be_read(entry: object) -> None:
    """The same."""
    told = refusal(parse_keys_file, file_of({"name": "ok", "key": FINE}, entry))

    assert told.startswith("entry 2 of READSIDE_API_KEYS_FILE ")


@pytest.mark.parametrize(
    "text",
    [
        f'[{{"name": "dash", "key": "{SECRET}"', f'[{{"name": "dash", "key": "{SECRET}', SECRET, f"dash:{SECRET}",
        "null",
        f'"{SECRET}"', f'{{"dash": "{SECRET}"}}', "[" * 100_000, f"[{'9' * 5_000}, {SECRET}]", f'["\\{SECRET}"]',
    ],
)  # fmt: skip
def test_a_file_that_is_no_list_of_keys(text: str) -> None:
    """Half a file, another form, JSON that breaks parsers: one sentence, which says where at most."""
    assert refusal(parse_keys_file, text).startswith("READSIDE_API_KEYS_FILE is not ")


def test_a_field_that_stands_twice() -> None:
    """Parsers take the one or the other: which key would it be?"""
    told = refusal(parse_keys_file, f'[{{"name": "dash", "key": "{FINE}", "key": "{SECRET}"}}]')

    assert told.startswith("entry 1 of READSIDE_API_KEYS_FILE has a field twice")


@pytest.mark.parametrize("length", [1, 15])
def test_a_key_that_can_be_guessed(length: int) -> None:
    """Its name is told, in either form."""
    key = "kQ7"[:1] * length

    assert refusal(parse_keys, f"dash:{key}:ops") == (
        "entry 1 of READSIDE_API_KEYS (dash) has a key shorter than 16 characters."
    )
    assert refusal(parse_keys_file, file_of({"name": "dash", "key": key})) == (
        "entry 1 of READSIDE_API_KEYS_FILE (dash) has a key shorter than 16 characters."
    )


def test_the_shortest_key() -> None:
    """Sixteen characters."""
    assert list(parse_keys("dash:" + "k" * 16)) == [digest("k" * 16)]


@pytest.mark.parametrize(
    "make",
    [lambda: secrets.token_urlsafe(24), lambda: secrets.token_urlsafe(16), lambda: secrets.token_hex(16),
     lambda: secrets.token_hex(8), lambda: str(uuid4()), lambda: SECRET, lambda: "correct-horse-battery-staple"],
    ids=["urlsafe", "short urlsafe", "hex", "short hex", "uuid", "words and digits", "words"],
)  # fmt: skip
@pytest.mark.parametrize("rest", ["dash", "dash:read", "dash:read+ops", "dash:admin", "b"])
def test_a_reversed_entry_shows_neither(make: Callable[[], str], rest: str) -> None:
    """What stands in the name's place may be the key."""
    key = make()

    assert key not in refusal(parse_keys, f"ok:{FINE},{key}:{rest}")
    assert key not in refusal(parse_keys_file, file_of({"name": key, "key": rest}))


@pytest.mark.parametrize("key", ["x7Kq9zPwe2Lm", "9f8c2ab1", "HJKLMNPQ"])
def test_a_reversed_entry_of_a_short_key_shows_neither(key: str) -> None:
    """A name that is no words may be a key too short to be one."""
    told = refusal(parse_keys, f"ok:{FINE},{key}:dash:read")

    assert told == "entry 2 of READSIDE_API_KEYS has a key shorter than 16 characters."


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex, lambda: str(uuid4())])
def test_a_reversed_entry_with_a_long_name_is_refused(make: Callable[[], str]) -> None:
    """Metrics and the log would show the key as a name."""
    key = make()
    told = refusal(parse_keys, f"{key}:billing-dashboard:read")

    assert "has no name, or a key in its place" in told
    assert key not in told


@pytest.mark.parametrize(
    "name",
    ["a", "dash", "Dash_2.x", "a/b@c", "A1b2C3d4E5f6G7h", "billing-dashboard", "Dashboard-eu-west-1", "a" * 14 + "-b1"]
)  # fmt: skip
def test_names(name: str) -> None:
    """Fifteen characters of any kind, or words."""
    assert list(parse_keys(f"{name}:{FINE}").values()) == [(name, frozenset({"read"}))]


@pytest.mark.parametrize("name", ["é", "a b", "x" * 16, "a-" * 40, "1234567890123456", "deadbeef-deadbeef1234"])
def test_names_that_are_none(name: str) -> None:
    """Not shown: nobody knows what they are."""
    told = refusal(parse_keys_file, file_of({"name": name, "key": FINE}))

    assert "has no name, or a key in its place" in told
    assert name not in told


def test_one_key_under_two_names() -> None:
    """Nobody could tell which of them asked; the digest is the key."""
    assert refusal(parse_keys, f"a:{SECRET},b:{SECRET}:ops") == "entry 2 of READSIDE_API_KEYS (b) repeats the key of a."
    assert (
        refusal(parse_keys_file, file_of({"name": "a", "key": SECRET}, {"name": "b", "sha256": digest(SECRET).hex()}))
        == "entry 2 of READSIDE_API_KEYS_FILE (b) repeats the key of a."
    )


def test_as_many_keys_as_there_may_be() -> None:
    """The log looks for each of them in each of its lines."""
    most = [f"n{number}:{FINE}{number}" for number in range(MOST_KEYS)]

    assert len(parse_keys(",".join(most))) == MOST_KEYS
    assert refusal(parse_keys, ",".join([*most, f"more:{SECRET}"])) == (
        "entry 1001 of READSIDE_API_KEYS is one too many: there may be 1,000 keys."
    )


def test_what_the_log_masks() -> None:
    """Every key that is written somewhere, even beside what cannot be read."""
    text = file_of({"name": "a", "key": SECRET}, {"key": FINE}, 3, {"name": "b", "sha256": "0" * 64}, {"key": 4})

    assert written_keys(f"a:{SECRET}:ops,{FINE}, :{FINE},b:") == {SECRET, FINE}
    assert written_keys_of_file(text) == {SECRET, FINE}
    assert [written_keys_of_file(other) for other in ("", "{", "{}", "3", "[" * 100_000)] == [set()] * 5


def test_the_documents_file_of_keys() -> None:
    """What it shows can be read."""
    page = (Path(__file__).parents[3] / "specs" / "operate" / "security.md").read_text()
    example = page.split("## Secrets in files", 1)[1].split("```json\n", 1)[1].split("```", 1)[0]

    assert list(parse_keys_file(example).values()) == [
        ("dashboard", frozenset({"read"})),
        ("ops", frozenset({"read", "ops"})),
    ]
