"""Settings of tokens: who may sign them, read strictly, and never shown."""

import os
from pathlib import Path

import pytest

from query_api.access.token_config import MAX_SECRETS, TokenConfig
from readmodel.errors import ConfigurationError
from readside.settings import Settings
from tests.support.signing import OTHER_SECRET, SECRET, ed25519, key_set, shared


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Both servers are set, and nothing else of ours."""
    for name in list(os.environ):
        if name.upper().startswith("READSIDE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("READSIDE_DATABASE_URL", "postgresql://db.example/shop")
    monkeypatch.setenv("READSIDE_REDIS_URL", "redis://cache.example")
    return monkeypatch


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    """A file with a key."""
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(ed25519()))
    return path


def refusal() -> str:
    """Build the API's config, which must fail with one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        Settings().api_config()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert SECRET not in sentence
    return sentence


def test_tokens_are_off_unless_somebody_may_sign(environment: pytest.MonkeyPatch) -> None:
    """Keys alone, as ever."""
    environment.setenv("READSIDE_API_KEYS", "dash:a-key-that-is-long")

    assert Settings().api_config().tokens is None


def test_the_contracts_defaults(environment: pytest.MonkeyPatch) -> None:
    """Meant for `readside`, from anybody who can sign; no key is needed beside them."""
    environment.setenv("READSIDE_JWT_SECRET", SECRET)
    api = Settings().api_config()

    assert api.tokens == TokenConfig("", (SECRET.encode(),), "readside", "")
    assert api.keys == {}


def test_all_of_them(environment: pytest.MonkeyPatch, jwks: Path) -> None:
    """A key set and a secret, for an audience, from an issuer."""
    for name, value in {"JWKS": str(jwks), "SECRET": SECRET, "AUDIENCE": "shop", "ISSUER": "https://i.example"}.items():
        environment.setenv(f"READSIDE_JWT_{name}", value)

    assert Settings().api_config().tokens == TokenConfig(str(jwks), (SECRET.encode(),), "shop", "https://i.example")


def test_several_secrets(environment: pytest.MonkeyPatch) -> None:
    """One a line, each once, in their order; blanks around them are not theirs."""
    environment.setenv("READSIDE_JWT_SECRET", f"{OTHER_SECRET}\r\n  {SECRET}\t\n\n{OTHER_SECRET}\n")
    tokens = Settings().api_config().tokens

    assert tokens is not None
    assert tokens.secrets == (OTHER_SECRET.encode(), SECRET.encode())


def test_as_many_secrets_as_may_be(environment: pytest.MonkeyPatch) -> None:
    """The bound belongs to it."""
    environment.setenv("READSIDE_JWT_SECRET", "\n".join(f"{SECRET}-{n}" for n in range(MAX_SECRETS)))
    tokens = Settings().token_config()

    assert tokens is not None
    assert len(tokens.secrets) == MAX_SECRETS


def test_bytes_are_counted(environment: pytest.MonkeyPatch) -> None:
    """A letter may be several."""
    environment.setenv("READSIDE_JWT_SECRET", "é" * 16)

    assert Settings().token_config() == TokenConfig(secrets=("é".encode() * 16,))


def test_a_secret_of_bytes_that_are_no_text(environment: pytest.MonkeyPatch) -> None:
    """Refused in a sentence, as anything else that is wrong."""
    environment.setenv("READSIDE_JWT_SECRET", f"\udcff{SECRET}")

    assert refusal() == "READSIDE_JWT_SECRET is not UTF-8: give 32 random characters or more."


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("x" * 31, "a secret of 31 bytes; HS256 needs 32 or more"),
        (f"{SECRET}\nshort", "a secret of 5 bytes"),
        ("\n".join(f"{SECRET}-{n}" for n in range(MAX_SECRETS + 1)), "holds 5 secrets; at most 4"),
        (ed25519().pem.decode(), "holds a key's file"),
        (key_set(shared()).decode(), "holds a key's file"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", "holds a key's file"),
    ],
    ids=["short", "second short", "five", "PEM", "JWKS", "SSH"],
)
def test_a_secret_that_is_none(environment: pytest.MonkeyPatch, secret: str, says: str) -> None:
    """What can be guessed, or is known to others, is refused."""
    environment.setenv("READSIDE_JWT_SECRET", secret)

    assert refusal().startswith("READSIDE_JWT_SECRET holds ")
    assert says in refusal()


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example/jwks.json",
        "https://issuer.example:8443/a?b=c",
        "https://[2001:db8::1]/jwks",
        "http://127.0.0.1:8080/jwks",
        "http://[::1]/jwks",
        "http://localhost/jwks",
    ],
)
def test_where_keys_can_be_fetched(environment: pytest.MonkeyPatch, url: str) -> None:
    """From who can prove who it is, and from this very machine; nothing is fetched to find out."""
    environment.setenv("READSIDE_JWT_JWKS", url)

    assert Settings().api_config().tokens == TokenConfig(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://issuer.example/jwks", "without TLS"),
        ("http://10.0.0.7/jwks", "without TLS"),
        ("http://localhost.evil.example/jwks", "without TLS"),
        ("http://127.0.0.1.evil.example/jwks", "without TLS"),
        ("https://ada:pw@issuer.example/jwks", "a user or a password"),
        ("ftp://issuer.example/jwks", "must be a path, or a URL"),
        ("file:///etc/jwks.json", "must be a path, or a URL"),
        ("https:///jwks", "must be a path, or a URL"),
        ("https://issuer.example/a b", "must be a path, or a URL"),
        ("https://issuer.example/\r\nX: y", "must be a path, or a URL"),
        ("https://issuer.example:port/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
    ],
)
def test_where_keys_cannot_be_fetched(environment: pytest.MonkeyPatch, url: str, says: str) -> None:
    """Whoever answers names the keys that open everything."""
    environment.setenv("READSIDE_JWT_JWKS", url)

    assert refusal().startswith("READSIDE_JWT_JWKS ")
    assert says in refusal()


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "cannot be used. The key set's file cannot be read: No such file or directory."),
        (b"{", "cannot be used. The key set is no JSON object."),
        (b'{"keys":[]}', "holds no key that can be used."),
        (key_set(shared()), "holds no key that can be used. Key 1 of the set is a secret"),
    ],
    ids=["missing", "broken", "empty", "secret"],
)
def test_a_file_without_keys(environment: pytest.MonkeyPatch, jwks: Path, document: bytes | None, says: str) -> None:
    """The API does not start with a file that lets nobody in; that is told at once, with the reason."""
    environment.setenv("READSIDE_JWT_JWKS", str(jwks))
    jwks.unlink() if document is None else jwks.write_bytes(document)

    assert refusal().startswith(f"READSIDE_JWT_JWKS {says}")


def test_no_key_and_nobody_who_signs(environment: pytest.MonkeyPatch) -> None:
    """Blank lines are no secret."""
    environment.setenv("READSIDE_JWT_SECRET", " \n\t\n")

    assert refusal().startswith("READSIDE_API_KEYS holds no key: ")


def test_nobody_is_asked(environment: pytest.MonkeyPatch) -> None:
    """With AUTH=none tokens are not looked at."""
    environment.setenv("READSIDE_AUTH", "none")
    environment.setenv("READSIDE_JWT_SECRET", SECRET)

    assert Settings().api_config().tokens is None


def test_nothing_shows_a_secret(environment: pytest.MonkeyPatch) -> None:
    """Neither settings nor configs; and the log masks each of them."""
    environment.setenv("READSIDE_JWT_SECRET", f"{SECRET}\n{OTHER_SECRET}")
    settings = Settings()
    shown = repr(settings) + repr(settings.api_config()) + repr(settings.token_config())

    assert SECRET not in shown
    assert OTHER_SECRET not in shown
    assert {SECRET, OTHER_SECRET} <= set(settings.secrets())
