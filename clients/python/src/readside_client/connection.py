"""What both clients know of an API: where it is, who asks, and what its responses mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from readside_client.credential import RenewableCredential, is_header_text
from readside_client.errors import Unauthorized, Unavailable
from readside_client.exact_json import ExactJson, ParseFloat
from readside_client.follower import Follower
from readside_client.following import Following, Step
from readside_client.model import Page
from readside_client.protocol import NotModified, Query, Request, answer_of

TIMEOUT_SECONDS = 10.0
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
"""Each `follow` holds a connection almost always: none waits for another's."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Settings of the httpx client below, and the translation of what it gives and raises."""

    base_url: httpx.URL
    headers: dict[str, str] = field(repr=False)
    credential: RenewableCredential
    """What is sent besides `headers`."""
    exact: ExactJson
    """Reads the numbers of answers as the caller wants them."""

    @classmethod
    def to(
        cls, base_url: str, key: str | None, token: str | Callable[[], object] | None, parse_float: ParseFloat
    ) -> Connection:
        """Check where and who; raises ValueError."""
        try:
            url = httpx.URL(base_url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in {"http", "https"} or not url.host:
            raise ValueError(f"The base URL must be like https://readside.example, not {base_url!r}.")
        if key is not None and not (key.isascii() and key.isprintable() and key.strip()):
            raise ValueError("The key holds what no header can, or nothing.")
        if key is not None and token is not None:
            raise ValueError("Give a key or a token, not both.")
        if isinstance(token, str) and not is_header_text(token):
            raise ValueError("The token holds what no header can, or nothing.")
        headers = {"accept": "application/json"} if key is None else {"accept": "application/json", "x-api-key": key}
        fixed = token if isinstance(token, str) else None
        return cls(url, headers, RenewableCredential(fixed, renews=callable(token)), ExactJson(parse_float))

    def page(self, response: httpx.Response, previous: Page | None) -> Page:
        """Read the answer to one poll; raises RequestRefused and Unavailable."""
        answer = answer_of(response.status_code, response.headers, response.content, self.exact)
        if isinstance(answer, Page):
            return answer
        if previous is None:
            raise Unavailable("The server answered 304 to what was not a condition.", 304)
        return unchanged(previous, answer)

    def follower(self, query: Query, following: Following) -> Follower:
        """Build the state machine of a `follow`."""
        return Follower(query, following, exact=self.exact)

    def step(self, follower: Follower, response: httpx.Response) -> Step:
        """A response to a `follow`; what refuses a token is waited out where a fresh one may come."""
        try:
            return follower.answered(response.status_code, response.headers, response.content)
        except Unauthorized as refused:
            if not self.credential.renews:
                raise
            return follower.failed(Unavailable(refused.detail, 401, self.credential.wait_seconds))

    def asks_again(self, response: httpx.Response, sent: dict[str, str]) -> bool:
        """Tell whether the request is to be sent again at once, with a fresh token."""
        if response.status_code == 401:
            return self.credential.refused(sent)
        if response.status_code < 400:
            self.credential.accepted(sent)
        return False


def held(usual: httpx.Timeout, request: Request) -> httpx.Timeout:
    """Wait so much longer for bytes as the API may hold the answer."""
    read = None if usual.read is None else usual.read + request.held_seconds
    return httpx.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)


def unchanged(previous: Page, answer: NotModified) -> Page:
    """The page that is at hand, as fresh as the 304 says."""
    return replace(previous, freshness=answer.freshness, poll_interval_seconds=answer.poll_interval_seconds)


def not_given(error: Exception) -> str:
    """Say that a function gave no token; its own words might hold secrets."""
    return f"No fresh token could be had: {type(error).__name__}."


def unavailable(error: httpx.RequestError) -> Unavailable:
    """Translate what went wrong on the way; the caller chains it."""
    return Unavailable(f"No answer from {error.request.url.host}: {type(error).__name__} {error}".rstrip() + ".")
