"""The keys of a JWKS, kept fresh: read from a file or fetched, and kept when that fails."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httptools
import structlog

from query_api.access.jwks import MAX_BYTES, KeySet, UnreadableJwks, parse_jwks
from query_api.access.token_config import is_url
from readmodel.errors import ConfigurationError
from readmodel.runtime.backoff import delays
from readmodel.runtime.single_flight import SingleFlight

FETCH_SECONDS = 5.0
"""A server that has not sent all of its keys by then is away, however busily it drips."""
FETCH_AGAIN_SECONDS = 300.0
LOOK_AGAIN_SECONDS = 5.0
"""So often a file is read again: a few kilobytes, compared as they are, since times of files repeat."""
UNKNOWN_KID_SECONDS = 30.0
"""Tokens that name unknown keys have the set read again once in this time: anybody can make such tokens."""
SETTLE_SECONDS = 2.0
BEGIN_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class UnreachableJwks(Exception):
    """A key set cannot be read where it should be; str() is a full sentence."""


class JwksSource(Protocol):
    """Where a key set comes from."""

    pause_seconds: float

    async def read(self) -> bytes:
        """The document, MAX_BYTES + 1 of it at most; raises UnreachableJwks."""


class JwksFile:
    """A key set in a file, which may be replaced at any time."""

    pause_seconds = LOOK_AGAIN_SECONDS

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    async def read(self) -> bytes:
        return await asyncio.to_thread(self.read_now)

    def read_now(self) -> bytes:
        """Read it in this thread."""
        try:
            if self._path.exists() and not self._path.is_file():
                raise UnreachableJwks("The key set's file is none: it is a directory or a device.")
            with self._path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as exc:
            raise UnreachableJwks(f"The key set's file cannot be read: {_why(exc)}.") from exc


class JwksUrl:
    """A key set behind a URL. No redirect is followed: who answers names the keys that open everything."""

    pause_seconds = FETCH_AGAIN_SECONDS

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = parts.netloc.rpartition("@")[2]
        self._request = (
            f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: readside\r\nConnection: close\r\n"
            "Accept: application/jwk-set+json, application/json\r\nAccept-Encoding: identity\r\n\r\n"
        ).encode()

    async def read(self) -> bytes:
        """Fetch it on the event loop, where each wait can be cancelled; a thread cannot be."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                return await self._fetch()
        except TimeoutError:
            raise UnreachableJwks(f"The key set did not come within {FETCH_SECONDS:g} s.") from None
        except (OSError, EOFError, ssl.SSLError) as exc:
            raise UnreachableJwks(f"The key set cannot be fetched: {_why(exc)}.") from exc
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            raise UnreachableJwks("The key set cannot be fetched: the server does not speak HTTP/1.1.") from exc

    async def _fetch(self) -> bytes:
        # Made anew each time: a private CA (SSL_CERT_FILE) that was replaced is taken up.
        context = await asyncio.to_thread(ssl.create_default_context) if self._secure else None
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        try:
            writer.write(self._request)
            response = _Response()
            while not response.over and (data := await reader.read(65_536)):
                response.feed(data)
            return response.document()
        finally:
            writer.transport.abort()  # nothing more is wanted of it, and a farewell could be waited for


class _Response:
    """An answer as httptools reads it."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._begun = self._whole = False

    @property
    def over(self) -> bool:
        """Whether there is nothing to read any more, or no reason to."""
        return self._whole or len(self._body) > MAX_BYTES or (self._begun and self._parser.get_status_code() != 200)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self._begun = True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._whole = True

    def document(self) -> bytes:
        """The body; raises UnreachableJwks. One that was cut off is no JSON, which the next reader sees."""
        if not self._begun:
            raise UnreachableJwks("The key set cannot be fetched: the server closed the connection.")
        if (status := self._parser.get_status_code()) != 200:
            more = " (redirects are not followed)" if 300 <= status < 400 else ""
            raise UnreachableJwks(f"The key set cannot be fetched: its server answered {status}{more}.")
        return bytes(self._body)


def check_file(path: str, name: str) -> None:
    """Raise ConfigurationError unless this file holds a key set with a key that can be used."""
    try:
        keys = parse_jwks(JwksFile(path).read_now())
    except (UnreachableJwks, UnreadableJwks) as exc:
        raise ConfigurationError(f"{name} cannot be used. {exc}") from None
    if not keys.keys:
        raise ConfigurationError(f"{name} holds no key that can be used. {' '.join(keys.left_out[:1])}".rstrip())


def source_of(jwks: str) -> JwksSource:
    """Make the source that a setting names."""
    return JwksUrl(jwks) if is_url(jwks) else JwksFile(jwks)


class KeyRing:
    """The keys in use. A refresh that fails changes nothing but `failures`; whoever withdraws keys must be reachable.

    `on_change` is called whenever the keys are others than before. `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        source: JwksSource,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.keys = KeySet()
        self.failures = 0
        self._source = source
        self._on_change = on_change
        self._clock = clock
        self._sleep = sleep
        self._document: bytes | None = None
        self._refreshed_at: float | None = None
        self._asked_at: float | None = None
        self._refresh = SingleFlight(self._read)
        self._complaint = ""

    @property
    def loaded(self) -> bool:
        """Whether a key set was ever read."""
        return self._refreshed_at is not None

    @property
    def age_seconds(self) -> float | None:
        """How long ago the keys were last known to be right; None before the first time."""
        return None if self._refreshed_at is None else self._clock() - self._refreshed_at

    def ask(self) -> bool:
        """Have the keys read again for an unknown kid, if that may be now; tells whether it is under way."""
        now = self._clock()
        if (self._asked_at is None or now - self._asked_at >= UNKNOWN_KID_SECONDS) and self._refresh.begin():
            self._asked_at = now
        return self._refresh.in_flight

    async def settled(self) -> None:
        """Wait until a refresh that is under way has ended, but no longer than SETTLE_SECONDS."""
        await self._refresh.settled(SETTLE_SECONDS)

    async def begin(self) -> None:
        """Read the keys for the first time, and wait for it a moment; `run` goes on from there."""
        self._refresh.begin()
        await self._refresh.settled(BEGIN_SECONDS)

    async def run(self) -> None:
        """Keep the keys fresh, for ever."""
        pauses = self._pauses()
        try:
            while True:
                failures = self.failures
                self._refresh.begin()
                await self._refresh.settled()
                if self.failures == failures:
                    pauses = self._pauses()
                    await self._sleep(self._source.pause_seconds)
                else:
                    await self._sleep(next(pauses))
        finally:
            await self._refresh.close()

    def _pauses(self) -> Iterator[float]:
        """After a failure it is tried again sooner: until the first success no token can be checked."""
        return delays(min(LOOK_AGAIN_SECONDS, self._source.pause_seconds), self._source.pause_seconds)

    async def _read(self) -> None:
        try:
            document = await self._source.read()
            if document != self._document:
                self._take(await asyncio.to_thread(parse_jwks, document))
                self._document = document
            self._refreshed_at = self._clock()
            self._complaint = ""
        except (UnreachableJwks, UnreadableJwks) as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - the boundary of a loop: whatever fails, the keys there are go on
            self._failed(f"The key set cannot be read: {type(error).__name__}.")

    def _take(self, keys: KeySet) -> None:
        changed = not keys.same(self.keys)
        self.keys = keys
        for reason in keys.left_out:
            _log.warning("a key of the JWKS is left out", reason=reason)
        if changed:
            _log.info("the keys that sign tokens changed", keys=len(keys.keys))
            self._on_change()

    def _failed(self, complaint: str) -> None:
        """Say it once for each reason: it may go on for hours."""
        self.failures += 1
        if complaint != self._complaint:
            _log.warning("the JWKS is not read; its last keys stay in use", reason=complaint, keys=len(self.keys.keys))
        self._complaint = complaint


def _why(exc: Exception) -> str:
    """The reason in a few words, without what a server may have put into it."""
    return (getattr(exc, "strerror", None) or type(exc).__name__)[:100]
