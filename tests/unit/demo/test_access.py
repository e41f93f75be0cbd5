"""Who gets into the demo's API: by what the user set, or by what is made for one run."""

from pathlib import Path

import jwt
import pytest

from query_api.access.token_config import TokenConfig
from readside.demo.access import DemoAccess
from readside.settings import Settings
from tests.support.keys import KEY

SESSION = "11111111-2222-4333-8444-555555555555"
SECRET = "s" * 32


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests' own environment says."""
    for name in ("API_KEYS", "API_KEYS_FILE", "JWT_SECRET", "JWT_SECRET_FILE", "JWT_JWKS", "AUTH"):
        monkeypatch.delenv(f"READSIDE_{name}", raising=False)


def test_a_key_and_a_secret_are_made_where_none_is_set() -> None:
    """The key is shown, and so is a token for one session."""
    access = DemoAccess(Settings())

    assert access.made_key is not None
    assert access.settings() == {"API_KEYS": f"demo:{access.made_key}:read+ops", "JWT_SECRET": access.made_secret}
    assert access.headers(SESSION) == {"X-API-Key": access.made_key}
    assert access.shown_key() == (access.made_key, "named demo, with the scopes read and ops")
    token = jwt.decode(access.link_token(SESSION), access.made_secret, ["HS256"], audience="readside")
    assert token["sessions"] == [SESSION]


@pytest.mark.parametrize("in_a_file", [False, True])
def test_keys_of_the_users_are_honoured_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_a_file: bool
) -> None:
    """The demo's own polls bear a token."""
    if in_a_file:
        (tmp_path / "keys").write_text(f'[{{"name": "me", "key": "{KEY}"}}]')
        monkeypatch.setenv("READSIDE_API_KEYS_FILE", str(tmp_path / "keys"))
    else:
        monkeypatch.setenv("READSIDE_API_KEYS", f"me:{KEY}")
    access = DemoAccess(Settings())

    assert access.settings() == {"JWT_SECRET": access.made_secret}
    assert access.shown_key()[0] == "$KEY"
    assert access.link_token(SESSION) == ""
    assert (access.headers(SESSION) or {})["Authorization"].startswith("Bearer ey")


def test_secrets_of_the_users_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own polls bear a token that they sign, and no link does."""
    monkeypatch.setenv("READSIDE_JWT_SECRET", SECRET)
    access = DemoAccess(Settings())

    assert access.made_secret == ""
    assert jwt.decode(access.token(SESSION), SECRET, ["HS256"], audience="readside")["sessions"] == [SESSION]
    assert access.link_token(SESSION) == ""


def test_where_only_the_user_can_poll_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their keys, and tokens that somebody else signs."""
    monkeypatch.setenv("READSIDE_API_KEYS", f"me:{KEY}")
    signed_elsewhere = TokenConfig(jwks="https://keys.example/jwks")
    monkeypatch.setattr(Settings, "token_config", lambda _: signed_elsewhere)

    assert DemoAccess(Settings()).headers(SESSION) is None


def test_no_key_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then none is made and none is sent."""
    monkeypatch.setenv("READSIDE_AUTH", "none")
    access = DemoAccess(Settings())

    assert (access.made_key, access.settings(), access.headers(SESSION), access.token(SESSION)) == (None, {}, {}, "")
    assert access.shown_key() == (None, "no key is asked for: READSIDE_AUTH is none")
