"""Answers in gzip, over fakes and over real servers: the same bytes, tags for either form, and no staler for it."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from query_api.memory import content_coding
from query_api.memory.content_coding import GzipForms
from readmodel.values.freshness import rfc3339
from tests.fakes.event_log import Row
from tests.support.builders import events_path
from tests.support.scraping import series
from tests.support.stands import NOON_US, Stand, rows
from tests.support.waiting import eventually

HELD_SECONDS = 30
"""At most: a test that fails holds nobody up."""
PLAIN, GZIP = {"accept-encoding": "identity"}, {"accept-encoding": "gzip"}
NEWER = "?since=2026-01-13T14:30:00.5Z"
"""All but the first event: memory answers such a poll from what it knows of the newest ones."""


class Sent(NamedTuple):
    """An answer as it was on the wire."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_gzip(self) -> bool:
        return bool(self.headers.get("content-encoding") == "gzip")

    @property
    def source(self) -> str:
        return self.headers["readside-source"]


async def send(stand: Stand, session_id: str, headers: Mapping[str, str], query: str = "", method: str = "GET") -> Sent:
    """Poll, and unpack nothing."""
    async with stand.client.stream(method, events_path(session_id) + query, headers=headers) as answer:
        return Sent(answer.status_code, answer.headers, b"".join([part async for part in answer.aiter_raw()]))


async def send_until(
    stand: Stand, session_id: str, headers: Mapping[str, str], query: str, holds: Callable[[Sent], bool]
) -> Sent:
    """Poll until the answer is as wanted: what is heard, and when, is not the test's to say."""
    answers: list[Sent] = []

    async def arrived() -> bool:
        answers.append(await send(stand, session_id, headers, query))
        return holds(answers[-1])

    await eventually(arrived, "such an answer")
    return answers[-1]


def from_source(source: str) -> Callable[[Sent], bool]:
    """Whether an answer came from there."""
    return lambda sent: sent.source == source


def forms_of(stand: Stand) -> GzipForms:
    """The one of the API's process."""
    return stand.app._front._events._forms


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polls wait for as long as a test wants."""
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", HELD_SECONDS)


@contextmanager
def held(stand: Stand) -> Iterator[None]:
    """Keep the thread that compresses busy for as long as the block lasts."""
    go_on = threading.Event()
    forms_of(stand)._thread.submit(go_on.wait, HELD_SECONDS)
    try:
        yield
    finally:
        go_on.set()


async def compressing(stand: Stand, polls: int = 1) -> None:
    """Return when so many polls wait for one body."""

    def all_wait() -> bool:
        forms = forms_of(stand)
        return len(forms._line) == 1 and forms.waiting == polls

    await eventually(all_wait, f"{polls} polls wait for a compressed body")


async def compressed(stand: Stand) -> tuple[float, float]:
    """How many answers were compressed, and how many polls went without."""
    forms = forms_of(stand)  # a scrape, as others here take it, costs more than ten polls
    return forms.made, forms.refused


@pytest.mark.parametrize("source", ["redis", "memory", "postgres"])
@pytest.mark.parametrize("query", ["", NEWER])
async def test_both_forms_are_the_same_bytes(stand: Stand, sid: str, source: str, query: str) -> None:
    """From every source; each says its own length, and that there is another form."""
    fresh = {"readside-max-staleness": "0"} if source == "postgres" else {}
    await stand.beat(sid)  # its answers leave memory
    packed = await send_until(stand, sid, {**GZIP, **fresh}, query, from_source(source))
    await stand.beat(sid)
    plain = await send_until(stand, sid, {**PLAIN, **fresh}, query, from_source(source))

    assert (packed.status, packed.is_gzip, plain.is_gzip) == (200, True, False)
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    for sent in (packed, plain):
        assert int(sent.headers["content-length"]) == len(sent.body)
        assert sent.headers["vary"] == "Accept-Encoding"
        assert sent.headers["content-type"] == "application/json"
    assert packed.headers["etag"] == plain.headers["etag"][:-1] + '-gzip"'


@pytest.mark.parametrize("query", ["", NEWER])
async def test_memory_keeps_the_compressed_form(stand: Stand, sid: str, query: str) -> None:
    """However often it is asked for, it is made once."""
    first = await send_until(stand, sid, GZIP, query, from_source("redis"))
    made, _ = await compressed(stand)
    for _ in range(5):
        again = await send(stand, sid, GZIP, query)

        assert (again.source, again.body) == ("memory", first.body)
    assert await compressed(stand) == (made, 0)


@pytest.mark.parametrize("query", ["", NEWER])
async def test_what_memory_has_is_compressed_when_it_is_asked_for(stand: Stand, sid: str, query: str) -> None:
    """No store is asked again."""
    plain = await send_until(stand, sid, PLAIN, query, from_source("memory"))
    packed = await send(stand, sid, GZIP, query)

    assert (packed.source, packed.is_gzip) == ("memory", True)
    assert gzip.decompress(packed.body) == plain.body


async def test_a_form_that_memory_has_no_room_for_is_sent(
    stand: Stand, sid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for it gets it, though it is not kept."""
    monkeypatch.setattr(forms_of(stand), "max_bytes", 0)
    await send_until(stand, sid, PLAIN, "", from_source("memory"))
    sent = await send(stand, sid, GZIP)

    assert (sent.source, sent.is_gzip) == ("memory", True)


@pytest.mark.parametrize("accepted", ["gzip;q=0", "identity", "br", "gzip;q=0.1, identity;q=0.2"])
async def test_who_does_not_ask_gets_it_plain(stand: Stand, sid: str, accepted: str) -> None:
    """Also where the compressed form is there."""
    await send_until(stand, sid, GZIP, "", from_source("memory"))

    assert not (await send(stand, sid, {"accept-encoding": accepted})).is_gzip


async def test_several_fields_are_one_list(stand: Stand, sid: str) -> None:
    """RFC 9110, section 5.3."""
    path = events_path(sid)
    fields = [("accept-encoding", "br"), ("accept-encoding", "x-gzip")]
    refused = [*fields, ("accept-encoding", "gzip;q=0")]

    assert (await stand.client.get(path, headers=fields)).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in (await stand.client.get(path, headers=refused)).headers


@pytest.mark.parametrize("kept", ["nothing", "plain", "gzip"])
@pytest.mark.parametrize("asks", ["identity", "gzip"])
async def test_either_tag_gets_304(stand: Stand, sid: str, kept: str, asks: str) -> None:
    """With the tag that a 200 would have (RFC 9110, section 15.4.5); nothing is compressed for it."""
    plain = await send(stand, sid, PLAIN)
    tags = {"identity": plain.headers["etag"], "gzip": plain.headers["etag"][:-1] + '-gzip"'}
    for form, tag_of in product(["{}", "W/{}", '"x", {}'], tags):
        await stand.beat(sid)  # its answers leave memory
        if kept != "nothing":
            await send_until(stand, sid, GZIP if kept == "gzip" else PLAIN, "", from_source("memory"))
        before = await compressed(stand)
        answer = await send(stand, sid, {"if-none-match": form.format(tags[tag_of]), "accept-encoding": asks})

        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tags[asks])
        assert set(answer.headers) == set(plain.headers) - {"content-type", "content-length"}
        assert answer.headers["vary"] == "Accept-Encoding"
        assert await compressed(stand) == before


@pytest.mark.parametrize("kept", [PLAIN, GZIP])
@pytest.mark.parametrize(("asks", "gets"), [(PLAIN, "plain"), (GZIP, "gzip")])
async def test_where_both_tags_match_it_is_the_tag_of_the_form_that_is_asked_for(
    stand: Stand, sid: str, kept: dict[str, str], asks: dict[str, str], gets: str
) -> None:
    """Whichever memory has."""
    plain = (await send_until(stand, sid, PLAIN, "", from_source("memory"))).headers["etag"]
    tags = {"plain": plain, "gzip": plain[:-1] + '-gzip"'}
    await send(stand, sid, kept)
    for form in ("*", "{plain}, {gzip}", "{gzip}, {plain}"):
        answer = await send(stand, sid, {**asks, "if-none-match": form.format(**tags)})

        assert (answer.status, answer.headers["etag"]) == (304, tags[gets])


async def test_a_tag_of_other_bytes_gets_the_answer(stand: Stand, sid: str) -> None:
    """In the form that is asked for."""
    other = '"00000000000000000000000000000000-gzip"'
    answer = await send(stand, sid, {**GZIP, "if-none-match": other})

    assert (answer.status, answer.is_gzip) == (200, True)


@pytest.mark.parametrize("headers", [PLAIN, GZIP])
@pytest.mark.parametrize("kept", [False, True])
async def test_a_head_says_what_a_get_says(stand: Stand, sid: str, headers: dict[str, str], kept: bool) -> None:
    """Its length too, whichever of them comes first."""
    of_one = {"readside-source", "readside-as-of", "readside-lag-ms", "x-request-id"}
    if kept:
        await send_until(stand, sid, headers, "", from_source("memory"))
    head = await send(stand, sid, headers, method="HEAD")
    get = await send(stand, sid, headers)

    assert (head.status, head.body) == (200, b"")
    assert [one for one in head.headers.items() if one[0] not in of_one] == [
        one for one in get.headers.items() if one[0] not in of_one
    ]
    assert int(head.headers["content-length"]) == len(get.body)


@pytest.mark.parametrize("query", ["?limit=1", "?since=2100-01-01T00:00:00Z", NEWER + "&limit=1"])
async def test_short_answers_are_as_ever(stand: Stand, sid: str, query: str) -> None:
    """Nothing varies, one tag, from Redis and from memory; and for it no one waits."""
    before = await compressed(stand)
    for source in ("redis", "memory"):
        await stand.beat(*([sid] if source == "redis" else []))
        answer = await send_until(stand, sid, GZIP, query, from_source(source))
        unmodified = await send(stand, sid, {**GZIP, "if-none-match": answer.headers["etag"]}, query)
        other = await send(stand, sid, {**GZIP, "if-none-match": answer.headers["etag"][:-1] + '-gzip"'}, query)

        assert (answer.is_gzip, unmodified.status, other.status) == (False, 304, 200)
        assert not any("vary" in sent.headers for sent in (answer, unmodified))
    assert await compressed(stand) == before


async def test_a_404_is_never_compressed(stand: Stand) -> None:
    """It is short, and of no form that could vary."""
    answer = await send(stand, str(uuid4()), GZIP)

    assert (answer.status, answer.is_gzip, "vary" in answer.headers) == (404, False, False)


@pytest.mark.parametrize("query", ["", NEWER])
async def test_what_is_read_again_is_not_compressed_again(stand: Stand, sid: str, query: str) -> None:
    """The same bytes take over the form that memory has, and memory counts it as before."""
    first = await send_until(stand, sid, GZIP, query, from_source("memory"))
    before = series((await stand.client.get("/metrics")).text)
    again = await send(stand, sid, {**GZIP, "readside-max-staleness": "0"}, query)
    then = await send_until(stand, sid, GZIP, query, from_source("memory"))
    after = series((await stand.client.get("/metrics")).text)

    assert (again.source, again.body, then.body) == ("postgres", first.body, first.body)
    assert after["readside_answers_compressed_total"] == before["readside_answers_compressed_total"]
    assert after["readside_response_cache_bytes"] >= before["readside_response_cache_bytes"]


@pytest.mark.parametrize("kept", [False, True])
async def test_a_crowd_compresses_once(stand: Stand, sid: str, kept: bool) -> None:
    """Fifty at once, of what a store gives and of what memory has; all get the same."""
    if kept:
        await send_until(stand, sid, PLAIN, "", from_source("memory"))
    made, _ = await compressed(stand)
    answers = await asyncio.gather(*(send(stand, sid, GZIP) for _ in range(50)))

    assert len({(one.status, one.is_gzip, one.body) for one in answers}) == 1
    assert answers[0].is_gzip
    assert await compressed(stand) == (made + 1, 0)


@pytest.mark.parametrize("kept", [False, True])
async def test_where_too_many_wait_answers_leave_as_they_are(
    stand: Stand, sid: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and it is counted; the next one is compressed again."""
    plain = await send_until(stand, sid, PLAIN, "", from_source("memory"))
    if not kept:
        await stand.beat(sid)
    with monkeypatch.context() as patch:
        patch.setattr(content_coding, "MAX_LINE", 0)
        answer = await send(stand, sid, GZIP)

    assert (answer.is_gzip, answer.body, answer.headers["etag"]) == (False, plain.body, plain.headers["etag"])
    assert answer.headers["vary"] == "Accept-Encoding"
    assert await compressed(stand) == (0, 1)
    assert (await send(stand, sid, GZIP)).is_gzip


@pytest.mark.parametrize("kept", [False, True])
async def test_who_waits_too_long_gets_the_answer_as_it_is(
    stand: Stand, sid: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread's delay is nobody else's; the form is kept once it is made."""
    plain = await send_until(stand, sid, PLAIN, "", from_source("memory"))
    if not kept:
        await stand.beat(sid)
    monkeypatch.setattr(content_coding, "WAIT_SECONDS", 0.01)
    with held(stand):
        answer = await send(stand, sid, GZIP)
        assert (answer.is_gzip, answer.body, answer.headers["etag"]) == (False, plain.body, plain.headers["etag"])
        assert await compressed(stand) == (0, 1)
    await send_until(stand, sid, GZIP, "", lambda sent: sent.is_gzip)


@pytest.mark.parametrize("query", ["", NEWER])
@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_that_is_dropped_meanwhile_is_sent_to_nobody(
    stand: Stand, sid: str, query: str, known: bool
) -> None:
    """Memory is looked at again, and where it has nothing a store is asked; what is new leaves as it is."""
    before = await send_until(stand, sid, PLAIN, query, from_source("memory"))
    with held(stand):
        task = asyncio.create_task(send(stand, sid, GZIP, query))
        await compressing(stand)
        await stand.add(Row(sid, NOON_US + 60_000_000))
        after = await send_until(stand, sid, PLAIN, query, lambda sent: sent.body != before.body)
        if not known:
            await send_until(stand, sid, PLAIN, "?limit=7", from_source("memory"))
            await stand.beat(sid)
            await send_until(stand, sid, PLAIN, "?limit=7", from_source("redis"))  # so the beat is heard
    answer = await task

    assert (answer.source, answer.is_gzip) == ("memory" if known else "redis", False)
    assert (answer.body, answer.headers["etag"]) == (after.body, after.headers["etag"])


async def aged(seconds: float) -> None:
    """Return when so many seconds have passed."""
    since = time.monotonic()
    await eventually(lambda: time.monotonic() - since > seconds, "the answer has aged")


async def fresh_in_memory(stand: Stand, session_id: str) -> None:
    """Return when memory has answered who wants nothing older than a second."""

    async def is_fresh() -> bool:
        await stand.beat()
        answer = await send(stand, session_id, {**PLAIN, "readside-max-staleness": "1"})
        return answer.source == "memory"

    await eventually(is_fresh, "memory is fresh")


def now() -> str:
    """This instant, as an as-of is written."""
    return rfc3339(time.time_ns() // 1000)


async def test_what_memory_has_may_age_while_it_is_compressed(stand: Stand, sid: str) -> None:
    """Then a store is asked for a fresher one: no answer is staler than its caller wants."""
    with held(stand):
        await fresh_in_memory(stand, sid)
        task = asyncio.create_task(send(stand, sid, {**GZIP, "readside-max-staleness": "1"}))
        await compressing(stand)
        found_by = now()
        await aged(1)
    answer = await task

    assert (answer.source, answer.is_gzip) == ("postgres", True)
    assert answer.headers["readside-as-of"] > found_by


async def test_what_a_store_gave_may_age_while_it_is_compressed(stand: Stand, sid: str) -> None:
    """The same, and the compressed form is of use all the same: nothing has changed."""
    plain = await send(stand, sid, PLAIN)
    made, _ = await compressed(stand)
    with held(stand):
        await stand.beat(sid)
        task = asyncio.create_task(send(stand, sid, {**GZIP, "readside-max-staleness": "1"}))
        await compressing(stand)
        found_by = now()
        await aged(1)
    answer = await task

    assert (answer.source, answer.is_gzip) == ("postgres", True)
    assert answer.headers["readside-as-of"] > found_by
    assert gzip.decompress(answer.body) == plain.body
    assert await compressed(stand) == (made + 1, 0)


async def test_what_aged_and_changed_is_not_compressed_again(stand: Stand, sid: str) -> None:
    """Once is enough to wait for: the fresher one leaves as it is."""
    made, _ = await compressed(stand)
    with held(stand):
        await stand.beat(sid)
        task = asyncio.create_task(send(stand, sid, {**GZIP, "readside-max-staleness": "1"}))
        await compressing(stand)
        await stand.side.add(Row(sid, NOON_US + 60_000_000))
        await aged(1)
    answer = await task

    assert (answer.source, answer.is_gzip) == ("postgres", False)
    assert b'"total":11,' in answer.body
    assert await compressed(stand) == (made + 1, 0)


async def test_who_asks_for_now_gets_what_was_so_when_it_was_asked(stand: Stand, sid: str) -> None:
    """However long it is compressed: the query began after the request came, and one is enough."""
    with held(stand):
        task = asyncio.create_task(send(stand, sid, {**GZIP, "readside-max-staleness": "0"}))
        await compressing(stand)
        queries = series((await stand.client.get("/metrics")).text)["readside_fallback_queries_total"]
    answer = await task

    assert (answer.source, answer.is_gzip) == ("postgres", True)
    assert series((await stand.client.get("/metrics")).text)["readside_fallback_queries_total"] == queries


async def test_freshness_is_that_of_the_moment_of_leaving(stand: Stand, sid: str) -> None:
    """The lag has grown meanwhile."""
    await send_until(stand, sid, PLAIN, "", from_source("memory"))
    with held(stand):
        task = asyncio.create_task(send(stand, sid, GZIP))
        await compressing(stand)
        await aged(0.2)
        late = await send(stand, sid, PLAIN)
    answer = await task

    assert (late.source, answer.source, answer.is_gzip) == ("memory", "memory", True)
    assert answer.headers["readside-as-of"] == late.headers["readside-as-of"]
    assert int(answer.headers["readside-lag-ms"]) >= int(late.headers["readside-lag-ms"]) >= 200


async def test_polls_that_leave_cost_the_others_nothing(stand: Stand, sid: str) -> None:
    """One of two gives up while both wait."""
    await send_until(stand, sid, PLAIN, "", from_source("memory"))
    with held(stand):
        leaving, staying = [asyncio.create_task(send(stand, sid, GZIP)) for _ in range(2)]
        await compressing(stand, polls=2)
        leaving.cancel()
        await asyncio.wait([leaving])
    answer = await staying

    assert (answer.source, answer.is_gzip) == ("memory", True)
    assert (await compressed(stand))[0] == 1


async def test_memory_counts_what_it_keeps(stand: Stand) -> None:
    """The compressed form, beside the plain one."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 200))
    await stand.heat(session_id)
    plain = await send_until(stand, session_id, PLAIN, "?limit=200", from_source("memory"))
    before = series((await stand.client.get("/metrics")).text)["readside_response_cache_bytes"]
    packed = await send(stand, session_id, GZIP, "?limit=200")
    after = series((await stand.client.get("/metrics")).text)["readside_response_cache_bytes"]

    assert after - before == len(packed.body) + content_coding.FORM_OVERHEAD_BYTES < len(plain.body)
