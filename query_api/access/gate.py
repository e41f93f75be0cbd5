"""Who is let in: keys by their SHA-256, tokens by their signature, and what each may do."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

from query_api.access.denials import Denial, Denials, forbidden, too_many, unauthorized
from query_api.access.principals import Principal, Principals
from query_api.access.tokens import BadToken, Claims, KeyNotKnown
from query_api.http.problems import bad_request, retry_later
from query_api.http.reply import Reply
from query_api.http.request_fields import TWICE, RequestFields
from query_api.memory.staleness import Staleness
from readmodel.errors import InvalidParameter

TOKEN_STALENESS_SECONDS = 1.0
"""A token asks for no fresher answer: each of those is a query of Postgres (the contract's figure)."""
CLOCK_SECONDS = 1.0
"""So often the wall clock is compared with the steady one."""
MAX_VERDICTS = 10_000
"""Tokens whose signature was right, and is not checked again."""
_BEARER = b"bearer "
_BLANKS = b" \t"
_EVERYTHING, _OF_TOKENS = frozenset({"read", "ops"}), frozenset({"read"})
_NEEDED = "An API key is needed, as X-API-Key or as Authorization: Bearer."

ApiKeys = Mapping[bytes, tuple[str, frozenset[str]]]
"""A key's SHA-256 to (its name, its scopes)."""


class TokenCheck(Protocol):
    """What judges tokens."""

    @property
    def age_seconds(self) -> float | None:
        """How long ago the key set was read; None where there is none."""

    @property
    def failures(self) -> int:
        """How often it could not be read."""

    def claims(self, token: bytes, now: float) -> Claims:
        """Say what a token claims. `now` is Unix seconds. Raises BadToken."""

    async def settled(self) -> None:
        """Wait until the keys are as fresh as they can be."""


class Credential:
    """What a key or a token lets its bearer do, until `until` (monotonic seconds).

    `sessions` are those that it may read, None: every one.
    """

    __slots__ = ("_is_token", "_scopes", "_sessions", "edition", "principal", "until")

    def __init__(
        self,
        principal: Principal,
        scopes: frozenset[str],
        edition: object,
        *,
        sessions: frozenset[str] | None = None,
        until: float = inf,
    ) -> None:
        self.principal = principal
        self.edition = edition
        self.until = until
        self._scopes = scopes
        self._sessions = sessions
        self._is_token = principal.kind == "token"

    def lacks(self, scope: str) -> Denial | None:
        """The 403 of who lacks a scope."""
        if scope in self._scopes:
            return None
        who = "A token" if self._is_token else f"The API key {self.principal.name}"
        return forbidden("scope", f"{who} lacks the scope {scope}.", self.principal, scope)

    def denies(self, session_id: str, wanted: Staleness | None = None) -> Denial | None:
        """The 403 of who may not read this session, or not as freshly; the same whether or not there is one."""
        if not self._is_token:
            return None
        if self._sessions is not None and session_id not in self._sessions:
            return forbidden("session", "The token does not name this session.", self.principal, "read")
        if wanted is not None and wanted.explicit and wanted.seconds < TOKEN_STALENESS_SECONDS:
            detail = f"With a token Readside-Max-Staleness must be {TOKEN_STALENESS_SECONDS:g} or more."
            return forbidden("staleness", detail, self.principal, "read")
        return None


class Gate:
    """Lets in, or not. Without `keys` everybody may do everything."""

    def __init__(
        self, keys: ApiKeys | None, tokens: TokenCheck | None = None, polls_per_second: float | None = None
    ) -> None:
        self.principals = Principals(polls_per_second)
        self.denials = Denials()
        self.tokens = tokens
        self._verdicts: OrderedDict[bytes, Credential] = OrderedDict()
        self._keys: dict[bytes, Credential] | None = None
        self.edition = object()
        """Another one as soon as who was let in may be refused."""
        self.on_reconsider: Callable[[], None] = _nobody_waits
        """Called then: whoever is held is to be judged anew, and not within this call."""
        self._anybody = Credential(self.principals.anybody, _EVERYTHING, self.edition)
        self._clocks_apart = time.time() - time.monotonic()
        if keys is not None:
            self.replace_keys(keys)

    @property
    def asks(self) -> bool:
        """Whether a key is needed at all."""
        return self._keys is not None

    @property
    def verdicts(self) -> int:
        """How many tokens are remembered."""
        return len(self._verdicts)

    def replace_keys(self, keys: ApiKeys) -> None:
        """Let in by these keys from now on, and by no others."""
        self._keys = {}  # of those withdrawn nothing holds any longer; None would let everybody in
        self.reconsider()
        of_key = self.principals.of_key
        self._keys = {digest: Credential(of_key(name), scopes, self.edition) for digest, (name, scopes) in keys.items()}

    def reconsider(self) -> None:
        """Judge everybody anew who was let in before."""
        self.edition = object()
        self._verdicts.clear()
        for credential in (self._keys or {}).values():
            credential.edition = self.edition
        self.on_reconsider()

    async def run(self) -> None:
        """Look at the clocks, at tokens that ended, and at what is still to be told of refusals, for ever."""
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            self.check_clock()
            self.forget_ended(time.monotonic())
            self.denials.tell_due()

    def check_clock(self) -> None:
        """Judge tokens anew if the wall clock was set: until then their ends were counted by the steady one."""
        apart = time.time() - time.monotonic()
        if abs(apart - self._clocks_apart) > 1.0:
            self.reconsider()
            self._clocks_apart = apart  # not each time: small steps add up

    def forget_ended(self, now: float) -> None:
        """Free what is kept of tokens that have ended: a token may name many sessions. `now` is monotonic seconds."""
        for digest in [digest for digest, found in self._verdicts.items() if now >= found.until]:
            del self._verdicts[digest]

    def credential(self, fields: RequestFields, now: float) -> Credential | Denial:
        """Tell who asks; what was found for these very fields holds until it ends. `now` is monotonic seconds."""
        known = fields.credential
        if known is not None and known.edition is self.edition and now < known.until:
            return known
        if self._keys is None:
            return self._anybody
        found = self._find(fields, now)
        if not isinstance(found, Denial):
            fields.credential = found
        return found

    async def admit(self, fields: RequestFields, scope: str, address: str) -> Credential | Reply:
        """Let in a request that is no poll, or say why not."""
        found = self.credential(fields, time.monotonic())
        if isinstance(found, Denial) and found.waits:
            await self.settled()
            found = self.credential(fields, time.monotonic())
        if isinstance(found, Denial):
            return self.denied(found, address)
        principal = found.principal
        denial = found.lacks(scope) if principal.takes(time.monotonic()) else self.slow_down(principal)
        return found if denial is None else self.denied(denial, address)

    async def settled(self) -> None:
        """Wait until a token's key is known, or will not be."""
        if self.tokens is not None:
            await self.tokens.settled()

    def slow_down(self, principal: Principal) -> Denial:
        """The 429 of who asks too much."""
        return too_many(principal, principal.wait_seconds(time.monotonic()))

    def denied(self, denial: Denial, address: str) -> Reply:
        """Take down a refusal, and give what is answered."""
        self.denials.note(denial, address)
        return denial.reply

    def _find(self, fields: RequestFields, now: float) -> Credential | Denial:
        """Look for the key or token of a request. Only digests are compared: the time it takes tells nothing."""
        key, authorization = fields.get(b"x-api-key", b""), fields.get(b"authorization", b"")
        if TWICE in key or TWICE in authorization:
            name = "X-API-Key" if TWICE in key else "Authorization"
            error = InvalidParameter(name, f"{name} came more than once; it may come once.")
            return Denial("twice", bad_request(error))
        key = key.strip(_BLANKS)
        secret = key or _bearer(authorization)
        if not secret:
            return unauthorized("no_key", _NEEDED, challenge=b"")
        digest = hashlib.sha256(secret).digest()
        known = (self._keys or {}).get(digest)
        if known is not None:
            return known
        if self.tokens is None or key or b"." not in secret:
            return unauthorized("unknown_key", "The API key is not known.")
        known = self._verdicts.get(digest)
        if known is not None and now < known.until:
            return known
        return self._judge(self.tokens, secret, digest, now)

    def _judge(self, tokens: TokenCheck, token: bytes, digest: bytes, now: float) -> Credential | Denial:
        unix = time.time()
        try:
            claims = tokens.claims(token, unix)
        except BadToken as error:
            reason, waits = f"token_{error.reason}", isinstance(error, KeyNotKnown)
            if error.reason == "no_keys":  # the token is not to blame: whoever shows it need not sign in again
                return Denial(reason, retry_later(f"{error} Try again in a second."), None, waits)
            return unauthorized(reason, str(error), waits=waits)
        principal = self.principals.of_token(_signed(token) if claims.subject is None else claims.subject)
        until = now + claims.expires_at - unix
        found = Credential(principal, _OF_TOKENS, self.edition, sessions=claims.sessions, until=until)
        self._verdicts[digest] = found
        if len(self._verdicts) > MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return found


def _nobody_waits() -> None:
    """Tell nobody."""


def _signed(token: bytes) -> bytes:
    """The digest of what a token's signature is of: its bearer can spell the signature in several ways."""
    return hashlib.sha256(token.rpartition(b".")[0]).digest()


def _bearer(authorization: bytes) -> bytes:
    return authorization[7:].strip(_BLANKS) if authorization[:7].lower() == _BEARER else b""
