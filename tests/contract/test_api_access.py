"""Who may ask what, and how much: over both ways in, fakes and real servers alike."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from query_api.access.key_ring import JwksFile
from query_api.access.token_config import TokenConfig
from query_api.http.reply import SAFETY
from tests.support.builders import BOTH_KEY, READ_KEY, events_path
from tests.support.clocks import move_on
from tests.support.hostile_tokens import AUDIENCE, ISSUER, hostile_tokens, minter
from tests.support.scraping import moved, series
from tests.support.signing import SESSION, claims, ed25519, key_set
from tests.support.stands import Stand, rows

StandOf = Callable[..., AbstractAsyncContextManager[Stand]]
MINTER = minter()
OPS = ("/api/v2/projection", "/api/v2/projection/history", "/api/v2/projection/sessions")
SAFE = [(name.decode(), value.decode()) for name, value in SAFETY.pairs]


@pytest.fixture
async def guarded(stand_of: StandOf, tmp_path: Path) -> AsyncIterator[Stand]:
    """An API that believes tokens, asked without a key."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(MINTER.jwks)
    async with stand_of(tokens=TokenConfig(str(jwks), (MINTER.secret.encode(),), AUDIENCE, ISSUER)) as stand:
        stand.client.headers.pop("x-api-key")
        yield stand


def bearer(*sessions: str, ttl_seconds: float = 600, every: bool = False) -> str:
    """A good token for these sessions."""
    names = "*" if every else list(sessions)
    return f"Bearer {MINTER.es.token(claims(iss=ISSUER, ttl_seconds=ttl_seconds, sessions=names)).decode()}"


async def hot(stand: Stand, events: int = 3) -> str:
    """A session in the view."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, events))
    await stand.heat(session_id)
    return session_id


def told_nothing(answer: httpx.Response) -> tuple[str, str]:
    """What a 403 says: nothing of any session or its freshness."""
    assert answer.status_code == 403, answer.text
    assert not [name for name in answer.headers if name.startswith("readside-") or name == "etag"]
    return answer.text, answer.headers["www-authenticate"]


async def test_hostile_tokens_open_nothing(guarded: Stand) -> None:
    """Each gets its status and a sentence, from polls and from other routes, and no other token opens less for it."""
    opened = MINTER.good()
    session_id = SESSION
    hostile = hostile_tokens(MINTER)
    for case in hostile:
        headers = {"authorization": f"Bearer {case.token.decode('latin-1')}"}
        if not _can_be_sent(headers["authorization"]):
            continue
        for method, path in (("GET", events_path(session_id)), ("POST", f"/api/v2/sessions/{session_id}/warm")):
            answer = await guarded.client.request(method, path, headers=headers)
            assert (case.name, answer.status_code) == (case.name, case.status), answer.text
            assert case.says in answer.json()["detail"], case.name

    assert len(hostile) >= 30
    for name, token in opened.items():
        answer = await guarded.poll(session_id, authorization=f"Bearer {token.decode()}")
        assert answer.status_code == 404, name


def _can_be_sent(value: str) -> bool:
    """Whether HTTP can carry it at all."""
    return value.isprintable() and value.isascii() and len(value) < 60_000


async def test_a_token_reads_its_session_from_every_source(guarded: Stand) -> None:
    """Postgres, Redis, memory, and 304."""
    session_id = str(uuid4())
    await guarded.write(session_id, rows(session_id, 3))
    shown = bearer(session_id)
    cold = await guarded.poll(session_id, authorization=shown)
    await guarded.heat(session_id)
    from_redis = await guarded.poll_from("redis", session_id, authorization=shown)
    from_memory = await guarded.poll_from("memory", session_id, authorization=shown)
    unmodified = await guarded.poll(session_id, authorization=shown, if_none_match=from_memory.headers["etag"])

    assert cold.headers["readside-source"] == "postgres"
    assert [cold.content, from_redis.content] == [from_memory.content] * 2
    assert unmodified.status_code == 304


async def test_other_sessions_are_403_whatever_is_known_of_them(guarded: Stand) -> None:
    """In memory, hot, cold, unknown, over, with the right ETag, or HEAD: it is the same answer."""
    mine, kept, lukewarm = await hot(guarded), await hot(guarded), await hot(guarded)
    cold, unknown = str(uuid4()), str(uuid4())
    await guarded.write(cold, rows(cold, 2))
    everybody = bearer(every=True)
    etag = (await guarded.poll_from("memory", kept, authorization=everybody)).headers["etag"]
    assert (await guarded.poll(unknown, authorization=everybody)).status_code == 404

    shown = bearer(mine)
    answers = [await guarded.poll(sid, authorization=shown) for sid in (kept, lukewarm, cold, unknown) for _ in "ab"]
    answers += [await guarded.poll(kept, authorization=shown, if_none_match=wish) for wish in (etag, "*")]
    answers += [await guarded.poll(kept, "?since=2026-01-01T00:00:00Z", authorization=shown)]
    warm = [
        await guarded.client.post(f"/api/v2/sessions/{sid}/warm", headers={"authorization": shown})
        for sid in (kept, cold, unknown)
    ]

    assert len({told_nothing(answer) for answer in answers + warm}) == 1
    assert (await guarded.client.head(events_path(kept), headers={"authorization": shown})).status_code == 403


async def test_spellings_of_its_session_are_its_session(guarded: Stand) -> None:
    """Capitals in the path and in the token."""
    mine = await hot(guarded)

    assert (await guarded.poll(mine.upper(), authorization=bearer(mine))).status_code == 200
    assert (await guarded.poll(mine, authorization=bearer(mine.upper()))).status_code == 200


async def test_a_token_warms_its_session(guarded: Stand) -> None:
    """One that is hot is said to be so."""
    mine = await hot(guarded)
    answer = await guarded.client.post(f"/api/v2/sessions/{mine}/warm", headers={"authorization": bearer(mine)})

    assert (answer.status_code, answer.json()["state"]) == (202, "hot")


@pytest.mark.parametrize("path", OPS)
async def test_a_token_is_no_operators(guarded: Stand, path: str) -> None:
    """Whatever sessions it names."""
    answer = await guarded.client.get(path, headers={"authorization": bearer(every=True)})

    assert (answer.status_code, answer.json()["detail"]) == (403, "A token lacks the scope ops.")


async def test_a_token_asks_postgres_for_nothing_fresher_than_a_second(guarded: Stand) -> None:
    """A key may."""
    mine = await hot(guarded)
    shown = bearer(mine)
    refused = await guarded.poll(mine, authorization=shown, readside_max_staleness="0.9")

    assert told_nothing(refused)
    assert (await guarded.poll(mine, authorization=shown, readside_max_staleness="1")).status_code == 200
    assert (await guarded.poll(mine, x_api_key=READ_KEY, readside_max_staleness="0")).status_code == 200


async def test_a_poll_that_is_remembered_ends_with_its_token(guarded: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes are sent again and again, and answered from memory until then."""
    mine = await hot(guarded)
    shown = bearer(mine, ttl_seconds=60)
    await guarded.poll_from("memory", mine, authorization=shown)
    move_on(monkeypatch, 61)
    refused = await guarded.poll(mine, authorization=shown)

    assert (refused.status_code, "expired" in refused.json()["detail"]) == (401, True)


async def test_a_token_signed_by_a_new_key_is_believed_at_once(stand_of: StandOf, tmp_path: Path) -> None:
    """The key set is read when the first one comes; what the old key signed is refused from then on."""
    jwks, new = tmp_path / "jwks.json", ed25519("new")
    jwks.write_bytes(key_set(MINTER.es))
    async with stand_of(tokens=TokenConfig(str(jwks), (), AUDIENCE, ISSUER)) as stand:
        stand.client.headers.pop("x-api-key")
        mine = await hot(stand)
        await stand.poll_from("memory", mine, authorization=bearer(mine))
        jwks.write_bytes(key_set(new))
        newer = f"Bearer {new.token(claims(mine, iss=ISSUER)).decode()}"

        assert (await stand.poll(mine, authorization=newer)).status_code == 200
        assert (await stand.poll(mine, authorization=bearer(mine))).status_code == 401


async def test_a_token_signed_by_a_new_key_warms_at_once(stand_of: StandOf, tmp_path: Path) -> None:
    """The other routes wait for the key set too."""
    jwks, new = tmp_path / "jwks.json", ed25519("new")
    jwks.write_bytes(key_set(MINTER.es))
    async with stand_of(tokens=TokenConfig(str(jwks), (), AUDIENCE, ISSUER)) as stand:
        stand.client.headers.pop("x-api-key")
        mine = await hot(stand)
        jwks.write_bytes(key_set(new))
        shown = {"authorization": f"Bearer {new.token(claims(mine, iss=ISSUER)).decode()}"}

        assert (await stand.client.post(f"/api/v2/sessions/{mine}/warm", headers=shown)).status_code == 202


@pytest.mark.parametrize("query", ["", "?since=2026-01-01T00:00:00Z"])
async def test_a_key_withdrawn_reads_nothing_more(stand: Stand, sid: str, query: str) -> None:
    """Not even what memory answered a moment ago, over the same connection."""
    await stand.poll_from("memory", sid, query)
    gate = stand.app._front._events._gate  # what watches the file of keys has it
    gate.replace_keys({})

    assert (await stand.poll(sid, query)).status_code == 401
    assert (await stand.client.get("/api/v2/projection")).status_code == 401


@pytest.mark.parametrize("path", [events_path(SESSION), *OPS, f"/api/v2/sessions/{SESSION}/warm"])
async def test_two_keys_are_400_on_every_route(stand: Stand, path: str) -> None:
    """Whether or not they are the same."""
    stand.client.headers.pop("x-api-key")
    method = "POST" if path.endswith("/warm") else "GET"
    for other in (BOTH_KEY, "another"):
        answer = await stand.client.request(method, path, headers=[("x-api-key", BOTH_KEY), ("X-API-Key", other)])

        assert (answer.status_code, answer.json()["parameter"]) == (400, "X-API-Key")


@pytest.mark.parametrize("value", [f"{BOTH_KEY} ", f"  {BOTH_KEY}", f"{BOTH_KEY}\t "])
async def test_blanks_around_a_key_are_no_part_of_it(stand: Stand, sid: str, value: str) -> None:
    """On every route."""
    assert [await status_for(stand, path, value) for path in (events_path(sid), OPS[0])] == [200, 200]


async def status_for(stand: Stand, path: str, key: str) -> int:
    """Ask with a key that httpx itself would not send over a socket."""
    if stand.client.base_url.host == "api":
        return (await stand.client.get(path, headers={"x-api-key": key})).status_code
    reader, writer = await asyncio.open_connection(stand.client.base_url.host, stand.client.base_url.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n")
    writer.close()
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", path) for path in ("/", "/docs", "/openapi.json", "/metrics", "/health/live", "/health/ready", "/nowhere")]
    + [("GET", path) for path in (*OPS, "/static/readside.css", "/console/poller.js")]
    + [("PUT", "/metrics"), ("POST", f"/api/v2/sessions/{SESSION}/warm"), ("OPTIONS", "/api/v2/projection")],
)
async def test_every_answer_tells_browsers_what_it_is(stand: Stand, method: str, path: str) -> None:
    """Once."""
    answer = await stand.client.request(method, path)

    assert [(name, answer.headers.get_list(name)) for name, _ in SAFE] == [(name, [value]) for name, value in SAFE]


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 200),
        ("", {"if_none_match": "*"}, 304),
        ("?limit=0", {}, 400),
        ("", {"x_api_key": "wrong"}, 401),
    ],
)
async def test_every_poll_tells_browsers_what_it_is(
    stand: Stand, sid: str, query: str, headers: dict[str, str], status: int
) -> None:
    """Whatever comes of it."""
    answer = await stand.poll(sid, query, **headers)

    assert answer.status_code == status
    assert [(name, answer.headers.get_list(name)) for name, _ in SAFE] == [(name, [value]) for name, value in SAFE]


async def test_who_asks_too_much_is_told_when_to_ask_again(stand_of: StandOf) -> None:
    """Each key has its own: five seconds' worth at once, then 429, from memory too. It is counted."""
    async with stand_of(polls_per_second=0.4) as stand:
        mine = await hot(stand)
        before = series((await stand.client.get("/metrics")).text)
        statuses = [(await stand.poll(mine)).status_code for _ in range(4)]
        slow = await stand.poll(mine)
        warm = await stand.client.post(f"/api/v2/sessions/{mine}/warm")
        found = moved(before, series((await stand.client.get("/metrics")).text))

        assert statuses == [200, 200, 429, 429]
        assert (slow.status_code, warm.status_code) == (429, 429)
        assert int(slow.headers["retry-after"]) in {2, 3}
        assert "again in" in slow.json()["detail"]
        assert (await stand.poll(mine, x_api_key=READ_KEY)).status_code == 200
        assert found["readside_refusals_total{reason=rate}"] == 4
        assert found["readside_principal_refusals_total{kind=key,name=both}"] == 4


async def test_tokens_of_one_subject_share_what_they_may_ask(stand_of: StandOf) -> None:
    """Renewing a token does not help. All tokens are counted together."""
    config = TokenConfig("", (MINTER.secret.encode(),), AUDIENCE, ISSUER)
    async with stand_of(polls_per_second=0.4, tokens=config) as stand:
        stand.client.headers.pop("x-api-key")
        mine, statuses = await hot(stand), []
        for ttl in range(600, 604):
            token = MINTER.hs.token(claims(mine, iss=ISSUER, ttl_seconds=ttl)).decode()
            statuses.append((await stand.poll(mine, authorization=f"Bearer {token}")).status_code)

        another = MINTER.hs.token(claims(mine, iss=ISSUER, sub="another")).decode()
        assert statuses == [200, 200, 429, 429]
        assert (await stand.poll(mine, authorization=f"Bearer {another}")).status_code == 200
        found = series((await stand.client.get("/metrics")).text)
        assert found["readside_principal_requests_total{kind=token,name=}"] == 5
        assert found["readside_principal_refusals_total{kind=token,name=}"] == 2


async def test_another_host_is_refused_on_every_route(stand_of: StandOf) -> None:
    """But for the probes: who makes its own name point here reads nothing, not even of what is in memory."""
    async with stand_of(allowed_hosts=("api", "127.0.0.1")) as stand:
        mine = await hot(stand)
        assert (await stand.poll_from("memory", mine)).status_code == 200
        evil = {"host": "evil.example"}
        paths = (events_path(mine), "/", "/docs", "/metrics", *OPS, "/nowhere")
        answers = [await stand.client.get(path, headers=evil) for path in paths]
        answers.append(await stand.client.options(events_path(mine), headers=evil))

        assert [answer.status_code for answer in answers] == [400] * len(answers)
        assert {answer.json()["detail"] for answer in answers} == {
            "The request is for another host: READSIDE_ALLOWED_HOSTS does not name it."
        }
        assert (await stand.client.get("/health/ready", headers=evil)).status_code == 200


async def test_many_strangers_at_once_are_all_refused(guarded: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """While tokens with unknown keys wait for the key set, others are answered; nobody is let in."""
    reads: list[object] = []
    read = JwksFile.read

    async def counted(source: JwksFile) -> bytes:
        reads.append(source)
        return await read(source)

    monkeypatch.setattr(JwksFile, "read", counted)
    mine = await hot(guarded)
    unknown = [MINTER.ed.token(claims(mine, iss=ISSUER), kid=f"kid-{number}").decode() for number in range(50)]
    answers = await asyncio.gather(
        *(guarded.poll(mine, authorization=f"Bearer {token}") for token in unknown),
        guarded.poll(mine, authorization=bearer(mine)),
    )

    assert [answer.status_code for answer in answers] == [401] * 50 + [200]
    assert len(reads) < 25  # one for all strangers; and one now and then, as for everybody
