"""How callers get into the demo's API: by the user's settings, or by a key and a secret that are made for this run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping

from query_api.access.token_config import TokenConfig
from readside.settings import Settings

TOKEN_SECONDS = 86_400
"""The link to one session works for so long, and a measuring poll may take as long."""


class DemoAccess:
    """Reads the settings; raises ConfigurationError where the user's keys or secrets cannot be read.

    `made_key` is None where none is asked for, or the user brought keys. `made_secret` is "" where tokens are the
    user's.
    """

    def __init__(self, settings: Settings) -> None:
        self.asked = settings.auth == "keys"
        self.auth = settings.auth
        self.made_key = secrets.token_urlsafe(24) if self.asked and not settings.given_keys() else None
        self._tokens = settings.token_config() if self.asked else None
        self.made_secret = ""
        if self.asked and self._tokens is None:
            self.made_secret = secrets.token_urlsafe(32)
            self._tokens = TokenConfig(
                secrets=(self.made_secret.encode(),), audience=settings.jwt_audience, issuer=settings.jwt_issuer
            )

    def settings(self) -> dict[str, str]:
        """What the API's settings are given in addition to the user's."""
        changes = {}
        if self.made_key is not None:
            changes["API_KEYS"] = f"demo:{self.made_key}:read+ops"
        if self.made_secret:
            changes["JWT_SECRET"] = self.made_secret
        return changes

    def headers(self, session_id: str) -> Mapping[str, str] | None:
        """What a poll of this session sends; None where only the user knows."""
        if not self.asked:
            return {}
        if self.made_key is not None:
            return {"X-API-Key": self.made_key}
        token = self.token(session_id)
        return {"Authorization": f"Bearer {token}"} if token else None

    def shown_key(self) -> tuple[str | None, str]:
        """What stands for the key in what is shown, None where none is sent, and what to know about it."""
        if not self.asked:
            return None, f"no key is asked for: READSIDE_AUTH is {self.auth}"
        if self.made_key is None:
            return "$KEY", "stands for a key of yours, of READSIDE_API_KEYS or its file"
        return self.made_key, "named demo, with the scopes read and ops"

    def link_token(self, session_id: str) -> str:
        """A token for a link that is shown; "" where key and secret are not the demo's own."""
        return self.token(session_id) if self.made_key is not None and self.made_secret else ""

    def token(self, session_id: str) -> str:
        """Mint a token as a backend would for its user; "" where no secret is known."""
        from readside.commands.token import mint  # what signs takes long to import

        if self._tokens is None or not self._tokens.secrets:
            return ""
        return mint(self._tokens, [session_id], ttl_seconds=TOKEN_SECONDS, subject="demo", now=int(time.time()))
