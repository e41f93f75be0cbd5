"""The key ring: keys from a file or a server, kept when either fails, and looked for when they are not known."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from query_api.access import key_ring
from query_api.access.jwks import MAX_BYTES, MAX_KEYS
from query_api.access.key_ring import UNKNOWN_KID_SECONDS, JwksFile, JwksUrl, KeyRing, UnreachableJwks
from query_api.access.token_config import TokenConfig
from query_api.access.tokens import BadToken, KeyNotKnown, Tokens
from query_api.http.request_id import naming
from readmodel.runtime.supervise import end
from tests.support.jwks_server import (
    Behaviour,
    answering,
    dripping,
    hanging,
    in_chunks,
    jwks_server,
    private_authority,
    saying,
)
from tests.support.signing import claims, ed25519, key_set, p256
from tests.support.waiting import eventually

OLD, NEW = key_set(ed25519()), key_set(p256())
GOOD = claims(ttl_seconds=86_400)  # they are made when the tests are collected, and a run takes a while
SHORT, LONG = 0.2, 60.0
"""Seconds: a bound that ends what never comes, and one that a slow machine does not reach."""


@pytest.fixture(autouse=True)
def long_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes is waited for."""
    for bound in ("FETCH_SECONDS", "BEGIN_SECONDS", "SETTLE_SECONDS"):
        monkeypatch.setattr(key_ring, bound, LONG)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What never comes is soon given up."""
    monkeypatch.setattr(key_ring, "FETCH_SECONDS", SHORT)


class FakeSource:
    """Documents one by one, the last one again and again; None fails."""

    pause_seconds = 0.01

    def __init__(self, *documents: bytes | None) -> None:
        self.documents = list(documents)
        self.reads = self.left = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> bytes:
        """Read."""
        self.reads += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        document = self.documents.pop(0) if len(self.documents) > 1 else self.documents[0]
        if document is None:
            raise UnreachableJwks("The key set is away.")
        return document


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def ring_of(source: FakeSource, clock: Callable[[], float] = time.monotonic) -> tuple[KeyRing, list[int]]:
    """A ring over a source, and how many keys it had at each change."""
    told: list[int] = []
    ring = KeyRing(source, lambda: told.append(len(ring.keys.keys)), clock)
    return ring, told


@asynccontextmanager
async def running(work: KeyRing | Tokens) -> AsyncIterator[None]:
    """Keep keys fresh for as long as the block lasts."""
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        await end([task])


async def test_what_a_request_has_read_is_not_about_it() -> None:
    """All requests share the keys: the log's lines about them bear no request's id."""
    seen: list[dict[str, object]] = []

    class Source(FakeSource):
        async def read(self) -> bytes:
            seen.append(get_contextvars())
            return await super().read()

    ring, _ = ring_of(Source(OLD))
    with naming(b"mine"):
        ring.ask()
    await ring.settled()

    assert seen == [{}]


def kids(ring: KeyRing) -> list[str | None]:
    """Names of the keys in use."""
    return [key.kid for key in ring.keys.keys]


def opens(tokens: Tokens, token: bytes) -> bool:
    """Tell whether a token is believed."""
    try:
        tokens.claims(token, time.time())
    except BadToken:
        return False
    return True


def more_failures(tokens: Tokens, before: int) -> bool:
    """Tell whether another one was counted."""
    return tokens.failures > before


async def fetched(behaviour: Behaviour) -> bytes:
    """Fetch from a server that behaves so."""
    async with jwks_server(behaviour) as server:
        return await JwksUrl(server.url).read()


async def refusal(behaviour: Behaviour) -> str:
    """What is said of a server that behaves so."""
    with pytest.raises(UnreachableJwks) as caught:
        await fetched(behaviour)
    assert str(caught.value).endswith(".")
    return str(caught.value)


async def test_what_is_asked_of_a_server() -> None:
    """The path with its query, as a GET of HTTP/1.1, without a word about us but our name."""
    async with jwks_server(answering(OLD)) as server:
        assert await JwksUrl(server.url).read() == OLD
        lines = server.requests[0].decode().split("\r\n")

    assert lines[0] == "GET /keys/jwks.json?of=readside HTTP/1.1"
    assert f"Host: {server.url.split('/')[2]}" in lines
    assert not [line for line in lines if line.lower().startswith(("authorization", "cookie"))]


@pytest.mark.parametrize(
    "behaviour",
    [
        answering(OLD),
        in_chunks(OLD),
        saying(b"HTTP/1.1 200 OK\r\n\r\n" + OLD),
        saying(b"HTTP/1.0 200 OK\r\n\r\n" + OLD),
    ],
    ids=["by length", "in chunks", "until the end", "HTTP/1.0"],
)
async def test_ways_to_send_a_document(behaviour: Behaviour) -> None:
    """Servers end a body by its length, by a last chunk, or by closing."""
    assert await fetched(behaviour) == OLD


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("behaviour", [hanging, dripping(b"HTTP/1.1 200 "), dripping(b"HTTP/1.1 200 OK\r\nX-Header: ")])
async def test_a_server_that_does_not_come_to_an_end(behaviour: Behaviour) -> None:
    """It is left after the bound, however busy it is."""
    assert await refusal(behaviour) == f"The key set did not come within {SHORT:g} s."


@pytest.mark.usefixtures("hasty")
async def test_a_body_that_drips() -> None:
    """A server that sends letters for ever is left after the bound too."""
    assert "did not come within" in await refusal(dripping(b"HTTP/1.1 200 OK\r\n\r\n{"))


async def test_a_body_without_end() -> None:
    """No more is read of it than a set may be long."""
    document = await fetched(answering(b"x" * 3 * MAX_BYTES))

    assert MAX_BYTES < len(document) < 2 * MAX_BYTES


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (answering(b"", "500 Internal Server Error"), "answered 500."),
        (answering(OLD, "404 Not Found"), "answered 404."),
        (
            answering(OLD, "302 Found", "Location: http://169.254.169.254/"),
            "answered 302 (redirects are not followed).",
        ),
        (answering(OLD, "308 Permanent Redirect", "Location: /"), "redirects are not followed"),
        (saying(b""), "closed the connection"),
        (saying(b"HTTP/1.1 200 OK\r\nContent"), "closed the connection"),
        (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not speak HTTP/1.1"),
        (saying(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), "cannot be fetched"),
    ],
    ids=["500", "404", "302", "308", "nothing", "half a head", "SSH", "101"],
)
async def test_a_server_that_does_not_give_it(behaviour: Behaviour, says: str) -> None:
    """Each in a sentence that repeats nothing of what the server said."""
    assert says in await refusal(behaviour)


async def test_nobody_listens() -> None:
    """A server that is not there is one that cannot be fetched from."""
    async with jwks_server(answering(OLD)) as server:
        url = server.url
    with pytest.raises(UnreachableJwks, match="cannot be fetched"):
        await JwksUrl(url).read()


async def test_a_private_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE says whom to believe; without it a server of that authority is a stranger."""
    authority = private_authority(tmp_path)
    async with jwks_server(answering(OLD), authority.server) as server:
        with pytest.raises(UnreachableJwks, match=r"(?i)certificate"):
            await JwksUrl(server.url).read()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))

        assert await JwksUrl(server.url).read() == OLD


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_hangs_in_the_handshake() -> None:
    """One that takes the connection and speaks no TLS is left after the bound."""
    async with jwks_server(hanging) as server:
        with pytest.raises(UnreachableJwks, match="did not come within"):
            await JwksUrl(server.url.replace("http://", "https://")).read()


async def test_a_server_that_hangs_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is waited for the loop turns, and a process that ends does not wait for it."""
    monkeypatch.setattr(key_ring, "FETCH_SECONDS", 600.0)
    monkeypatch.setattr(key_ring, "BEGIN_SECONDS", 0.01)
    async with jwks_server(hanging) as server:
        tokens = Tokens(TokenConfig(server.url))
        await tokens.begin()
        task = asyncio.create_task(tokens.run())
        await eventually(lambda: server.requests, "it is asked")
        with pytest.raises(KeyNotKnown, match="could not be read yet") as caught:
            tokens.claims(ed25519().token(GOOD), time.time())
        async with asyncio.timeout(60):
            await end([task])

    assert caught.value.reason == "no_keys"


async def test_rotation_on_a_server() -> None:
    """A key that appears is found by the first token that names it; one that is gone is believed no more."""
    async with jwks_server(answering(OLD)) as server:
        tokens, changes = Tokens(TokenConfig(server.url)), []
        tokens.on_change = lambda: changes.append(tokens.keys)
        await tokens.begin()
        old, new = ed25519().token(GOOD), p256().token(GOOD)
        assert opens(tokens, old)
        server.behaviour = answering(key_set(ed25519(), p256()))
        with pytest.raises(KeyNotKnown):
            tokens.claims(new, time.time())
        await tokens.settled()
        assert opens(tokens, new)
        assert opens(tokens, old)
        server.behaviour = answering(NEW)
        async with running(tokens):  # which reads at once
            await eventually(lambda: not opens(tokens, old), "the old key is gone")

    assert opens(tokens, new)
    assert changes == [1, 2, 1]


@pytest.mark.parametrize(
    "behaviour",
    [
        answering(b"", "503 Service Unavailable"),
        answering(OLD[:-1]),
        answering(b"<html>"),
        answering(b" " * (MAX_BYTES + 1)),
        answering(key_set(*[p256()] * (MAX_KEYS + 1))),
        saying(b""),
        hanging,
    ],
    ids=["503", "cut off", "a page", "too long", "too many", "closed", "hanging"],
)
async def test_keys_are_kept_when_a_refresh_fails(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server does instead of giving a set, tokens go on being believed, and the failure is counted."""
    async with jwks_server(answering(OLD)) as server:
        tokens = Tokens(TokenConfig(server.url))
        await tokens.begin()
        server.behaviour = behaviour
        if behaviour is hanging:
            monkeypatch.setattr(key_ring, "FETCH_SECONDS", SHORT)
        with pytest.raises(KeyNotKnown):
            tokens.claims(p256().token(GOOD), time.time())
        await tokens.settled()

    assert opens(tokens, ed25519().token(GOOD))
    assert (tokens.keys, tokens.failures) == (1, 1)


async def test_a_storm_of_unknown_keys() -> None:
    """However many tokens name unknown keys, the set is read once in thirty seconds for them."""
    source, clock = FakeSource(OLD), Clock()
    ring, _ = ring_of(source, clock)
    await ring.begin()
    reads = []
    for pause in (0.0, UNKNOWN_KID_SECONDS - 0.1, 0.1, UNKNOWN_KID_SECONDS):
        clock.now += pause
        for _ in range(1_000):
            ring.ask()
            await ring.settled()
        reads.append(source.reads - 1)

    assert reads == [1, 1, 2, 3]


async def test_tokens_in_a_storm_wait_for_no_more_than_one_refresh() -> None:
    """While a refresh is under way a token may wait for it; when none may begin it is bad at once."""
    source = FakeSource(OLD)
    ring, _ = ring_of(source, Clock())
    await ring.begin()
    source.gate.clear()
    assert [ring.ask() for _ in range(3)] == [True] * 3
    source.gate.set()
    await ring.settled()

    assert not ring.ask()
    assert source.reads == 2


async def test_waiting_for_a_refresh_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a set that does not come goes on without it."""
    monkeypatch.setattr(key_ring, "SETTLE_SECONDS", 0.01)
    source = FakeSource(OLD)
    ring, _ = ring_of(source)
    await ring.begin()
    source.gate.clear()
    assert ring.ask()
    await ring.settled()

    assert ring.ask()  # it is still under way
    source.gate.set()
    await eventually(lambda: not ring.ask(), "it ends")


async def test_beginning_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process starts though its keys do not come, and has them when they do."""
    monkeypatch.setattr(key_ring, "BEGIN_SECONDS", 0.01)
    source = FakeSource(OLD)
    source.gate.clear()
    ring, told = ring_of(source)
    await ring.begin()
    assert (ring.loaded, ring.age_seconds, kids(ring)) == (False, None, [])
    source.gate.set()

    await eventually(lambda: ring.loaded, "they come")
    assert (kids(ring), told) == (["ed"], [1])


async def test_a_change_is_told_once() -> None:
    """The same keys in other words are no change; one that is withdrawn is."""
    respelled = OLD.replace(b": ", b":")
    source = FakeSource(OLD, OLD, respelled, NEW, NEW)
    ring, told = ring_of(source)
    async with running(ring):
        await eventually(lambda: source.reads > 6, "it was read")

    assert told == [1, 1]
    assert kids(ring) == ["es"]


async def test_another_key_under_the_same_name_is_a_change() -> None:
    """A key that takes another's place has its own tokens believed, and the other's no more."""
    replaced = key_set(ed25519("other")).replace(b'"other"', b'"ed"')
    source = FakeSource(OLD, replaced)
    ring, told = ring_of(source)
    async with running(ring):
        await eventually(lambda: source.reads > 2, "it was read")

    assert told == [1, 1]
    assert kids(ring) == ["ed"]


async def test_age_and_failures() -> None:
    """The age is that of the last success; each failure counts, and one reason is told once."""
    source, clock = FakeSource(OLD, None), Clock()
    ring, _ = ring_of(source, clock)
    await ring.begin()
    clock.now += 7
    with capture_logs() as logs:
        async with running(ring):
            await eventually(lambda: ring.failures >= 3, "failures")

    assert ring.age_seconds == 7
    assert kids(ring) == ["ed"]
    assert [line["reason"] for line in logs] == ["The key set is away."]


async def test_after_failures_it_is_well_again() -> None:
    """What failed is tried again by itself; a second outage is told anew."""
    source = FakeSource(None, OLD, None, NEW)
    ring, _ = ring_of(source)
    with capture_logs() as logs:
        async with running(ring):
            await eventually(lambda: kids(ring) == ["es"], "the last set is in use")

    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "the JWKS is not read; its last keys stay in use"
    ] * 2


async def test_a_source_with_a_fault_of_ours() -> None:
    """An error that nobody thought of is a failure like others: keys stay, and the loop goes on."""
    source = FakeSource(OLD)
    ring, _ = ring_of(source)
    await ring.begin()
    source.documents = [7]  # type: ignore[list-item]
    async with running(ring):
        await eventually(lambda: ring.failures >= 2, "it goes on")

    assert kids(ring) == ["ed"]


async def test_it_is_tried_sooner_after_a_failure() -> None:
    """At first within seconds, then less and less often; once it is well, as often as its source wants."""
    source, pauses = FakeSource(None, None, OLD, OLD, None, OLD), list[float]()
    source.pause_seconds = 300.0
    enough = asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 6:
            enough.set()
            await asyncio.Event().wait()

    ring = KeyRing(source, lambda: None, sleep=pause)
    async with running(ring), asyncio.timeout(60):
        await enough.wait()

    assert [bound >= pauses[place] >= bound / 2 for place, bound in ((0, 5.0), (1, 10.0), (4, 5.0))] == [True] * 3
    assert [pauses[place] for place in (2, 3, 5)] == [300.0] * 3


async def test_it_is_read_by_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins, goes on for ever or looks for a key joins the refresh that is under way."""
    monkeypatch.setattr(key_ring, "BEGIN_SECONDS", 0.01)
    source = FakeSource(OLD)
    source.pause_seconds = 300.0
    source.gate.clear()
    ring, _ = ring_of(source)
    await ring.begin()
    async with running(ring):
        assert ring.ask()
        source.gate.set()
        await ring.settled()

        assert (kids(ring), source.reads) == (["ed"], 1)


@pytest.mark.parametrize("under_way", [True, False])
async def test_the_end(under_way: bool) -> None:
    """Who ends it ends a refresh that is under way, and is told of nothing else."""
    source = FakeSource(OLD)
    source.pause_seconds = 300.0
    if under_way:
        source.gate.clear()
    ring, _ = ring_of(source)
    task = asyncio.create_task(ring.run())
    await eventually(lambda: source.reads == 1 if under_way else ring.loaded, "it was read, or is")
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert source.left == int(under_way)


async def test_keys_that_are_left_out_are_told() -> None:
    """A warning for each when the set is new, and none when it is read again."""
    source = FakeSource(b'{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}')
    with capture_logs() as logs:
        async with running(ring_of(source)[0]):
            await eventually(lambda: source.reads > 3, "it is read again and again")

    assert [line["reason"] for line in logs if line["log_level"] == "warning"] == [
        "Key 1 of the set is a secret, which a key set may not hold: use READSIDE_JWT_SECRET."
    ]
    assert "c2VjcmV0" not in str(logs)


async def test_a_file_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it, none of it or another in its place: keys change when there is a whole set, and not before."""
    monkeypatch.setattr(JwksFile, "pause_seconds", 0.01)
    path = tmp_path / "jwks.json"
    path.write_bytes(OLD)
    tokens = Tokens(TokenConfig(str(path)))
    await tokens.begin()
    async with running(tokens):
        for broken in (NEW[: len(NEW) // 2], b"", None):
            failures = tokens.failures
            path.unlink() if broken is None else path.write_bytes(broken)
            await eventually(partial(more_failures, tokens, failures), "it was seen")
            assert opens(tokens, ed25519().token(GOOD))
        other = tmp_path / "other.json"
        other.write_bytes(NEW)
        other.rename(path)
        await eventually(lambda: opens(tokens, p256().token(GOOD)), "the new key is in use")

    assert not opens(tokens, ed25519().token(GOOD))


async def test_a_file_with_the_times_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same length and the same instant is another all the same."""
    monkeypatch.setattr(JwksFile, "pause_seconds", 0.01)
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set(ed25519("k1")))
    before = path.stat()
    tokens = Tokens(TokenConfig(str(path)))
    await tokens.begin()
    async with running(tokens):
        path.write_bytes(key_set(ed25519("k2")))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        await eventually(lambda: opens(tokens, ed25519("k2").token(GOOD)), "the new key is in use")


async def test_a_file_that_is_too_long(tmp_path: Path) -> None:
    """It is refused, and not cut where a set would end."""
    path = tmp_path / "jwks.json"
    path.write_bytes(OLD.ljust(MAX_BYTES + 1))
    tokens = Tokens(TokenConfig(str(path)))
    await tokens.begin()

    assert (tokens.keys, tokens.failures) == (0, 1)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "null"])
async def test_a_file_that_is_none(tmp_path: Path, kind: str) -> None:
    """What cannot be read as a file is said, and holds nobody."""
    path = tmp_path / "jwks.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UnreachableJwks, match="file"):
        await asyncio.wait_for(JwksFile("a\0b" if kind == "null" else str(path)).read(), 60)
