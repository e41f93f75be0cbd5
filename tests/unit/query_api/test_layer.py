"""The layer in front of Starlette, as a server calls it: prefixes, ids, CORS, HEAD, and what breaks."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from query_api.doorway.census import Census
from query_api.doorway.connections import Connections
from query_api.doorway.front import Front
from query_api.doorway.layer import Layer, Message, Receive, Scope, Send, respond
from query_api.http.cors import Cors
from query_api.http.problems import broken
from query_api.http.reply import HeaderFields, Reply
from query_api.memory.staleness import Staleness
from query_api.polls.events import Events, Question
from query_api.streams.stream import AskedStream, Stream, StreamQuestion
from query_api.streams.waiter import StreamWaiter
from tests.support.builders import socket_bounds

ORIGIN = "https://board.example"
POLL = "/api/v2/sessions/one/events"


class FakeEvents:
    """Answers every poll, and remembers what was asked; or raises."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked: list[tuple[str, str, bytes, dict[bytes, bytes]]] = []
        self._fault = fault

    def at_once(self, question: Question, _address: str) -> Reply:
        if self._fault:
            raise self._fault
        self.asked.append((question.method, question.session_id, question.query_string, question.fields))
        return Reply(200, (HeaderFields([(b"etag", b'"1"')]),), b"page")


class FakeApp:
    """Answers every other request, and remembers its scope; or raises, before its answer began or within it."""

    def __init__(self, fault: str = "") -> None:
        self.scopes: list[Scope] = []
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if self._fault == "before":
            raise RuntimeError("broken")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"theirs")]})
        if self._fault == "within":
            raise RuntimeError("broken")
        await send({"type": "http.response.body", "body": b"index"})


class Served:
    """What one request came to."""

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.status: int = messages[0]["status"]
        self.headers: list[tuple[bytes, bytes]] = messages[0]["headers"]
        self.body: bytes = b"".join(message["body"] for message in messages[1:])

    def header(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.headers if given == name]


def layer_of(app: FakeApp, events: FakeEvents, origins: tuple[str, ...] = (), root_path: str = "") -> Layer:
    """A layer over fakes."""
    front = Front(cast("Events", events), cast("Stream", None), Cors(origins), root_path)
    return Layer(app, front, Connections(front, socket_bounds(), Census(1)))


async def serve(
    path: str,
    *headers: tuple[bytes, bytes],
    method: str = "GET",
    query: bytes = b"",
    root_path: str = "",
    told: str | None = None,
    origins: tuple[str, ...] = (),
    events: FakeEvents | None = None,
    app: FakeApp | None = None,
) -> Served:
    """Serve one request; `root_path` is our own setting, `told` what the server says of it."""
    layer = layer_of(app or FakeApp(), events or FakeEvents(), origins, root_path)
    scope: dict[str, Any] = {"type": "http", "path": path, "method": method}
    scope |= {"query_string": query, "headers": list(headers)} | ({} if told is None else {"root_path": told})
    messages: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody reads the body")

    async def send(message: Message) -> None:
        messages.append(message)

    await layer(scope, receive, send)
    return Served(messages)


async def test_a_poll_is_answered_without_the_app() -> None:
    """With the session's id as it stands in the path, the query, and the headers that matter alone."""
    app, events = FakeApp(), FakeEvents()

    found = await serve(POLL, (b"accept", b"*/*"), (b"x-api-key", b"k"), query=b"limit=1", app=app, events=events)

    assert events.asked == [("GET", "one", b"limit=1", {b"x-api-key": b"k"})]
    assert (found.status, found.header(b"etag"), found.body) == (200, [b'"1"'], b"page")
    assert app.scopes == []


async def test_a_header_that_comes_twice_is_a_list() -> None:
    """As RFC 9110 joins them."""
    events = FakeEvents()

    await serve(POLL, (b"if-none-match", b'"1"'), (b"if-none-match", b'"2"'), events=events)

    assert events.asked[0][3] == {b"if-none-match": b'"1", "2"'}


@pytest.mark.parametrize(
    "path", ["/api/v2/sessions/one/two/events", "/api/v2/sessions/one/warm", "/api/v3/sessions/one/events", "/"]
)
async def test_all_else_is_the_apps(path: str) -> None:
    """Whatever looks like a poll in part."""
    app, events = FakeApp(), FakeEvents()

    found = await serve(path, app=app, events=events)

    assert (found.status, found.body, found.header(b"x")) == (200, b"index", [b"theirs"])
    assert [scope["path"] for scope in app.scopes] == [path]
    assert events.asked == []


async def test_what_is_no_request_goes_to_the_app_as_it_is() -> None:
    """Its lifespan, above all."""
    app = FakeApp()
    scope: Scope = {"type": "lifespan"}

    async def send(message: Message) -> None:
        assert message["type"].startswith("http")

    await layer_of(app, FakeEvents(), root_path="/under")(scope, cast("Receive", None), send)

    assert app.scopes == [scope]


@pytest.mark.parametrize("path", [POLL, "/"])
async def test_a_head_has_no_body(path: str) -> None:
    """The app sees a GET; status and headers are those of one."""
    app, events = FakeApp(), FakeEvents()

    found = await serve(path, method="HEAD", app=app, events=events)

    assert (found.status, found.body) == (200, b"")
    assert [scope["method"] for scope in app.scopes] + [asked[0] for asked in events.asked] == (
        ["HEAD"] if path == POLL else ["GET"]
    )


@pytest.mark.parametrize(
    ("root_path", "told", "path"),
    [
        ("/under", None, f"/under{POLL}"),  # a proxy that leaves the prefix on
        ("/under/", None, f"/under{POLL}"),
        ("/under", None, POLL),  # one that cuts it off
        ("/under", "/under", f"/under{POLL}"),  # a server that is told, and puts it in front
        ("/under", "/under", f"/under/under{POLL}"),  # both
        ("", "/under", f"/under{POLL}"),
    ],
)
async def test_a_prefix_is_cut_off(root_path: str, told: str | None, path: str) -> None:
    """Once, whoever put it there."""
    events = FakeEvents()

    await serve(path, root_path=root_path, told=told, events=events)

    assert [asked[1] for asked in events.asked] == ["one"]


@pytest.mark.parametrize("root_path", ["", "/under"])
async def test_a_path_that_begins_like_the_prefix_stays(root_path: str) -> None:
    """A prefix ends at a slash."""
    app = FakeApp()

    await serve("/underneath", root_path=root_path, told=root_path, app=app)

    assert [(scope["path"], scope["root_path"]) for scope in app.scopes] == [("/underneath", "")]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("root_path", "told"), [("/ünder", None), ("", "/ünder"), ("/ünder", "")])
async def test_the_prefix_itself_leads_to_the_page_below_it(root_path: str, told: str | None, method: str) -> None:
    """The page's links are relative; the query stays."""
    found = await serve("/ünder", method=method, query=b"a=1", root_path=root_path, told=told)

    assert (found.status, found.body) == (307, b"")
    assert found.header(b"location") == [b"/%C3%BCnder/?a=1"]
    assert found.header(b"content-length") == [b"0"]
    assert found.header(b"cache-control") == [b"no-store"]
    assert len(found.header(b"x-request-id")) == 1


async def test_a_prefix_without_a_query_leads_to_a_path_alone() -> None:
    """No question mark is left over."""
    assert (await serve("/under", root_path="/under")).header(b"location") == [b"/under/"]


async def test_nothing_is_posted_to_the_page() -> None:
    """A POST to the prefix is the app's to refuse."""
    app = FakeApp()

    await serve("/under", method="POST", root_path="/under", app=app)

    assert [scope["method"] for scope in app.scopes] == ["POST"]


async def test_without_a_prefix_the_empty_path_is_the_apps() -> None:
    """It would lead to itself."""
    assert (await serve("")).status == 200


@pytest.mark.parametrize("path", [POLL, "/"])
async def test_an_id_that_was_given_comes_back(path: str) -> None:
    """So that the caller finds it in our log."""
    found = await serve(path, (b"x-request-id", b"mine-7"))

    assert found.header(b"x-request-id") == [b"mine-7"]


@pytest.mark.parametrize(
    "secret",
    [
        (b"x-api-key", b"secret"),
        (b"x-api-key", b"secret \t"),
        (b"authorization", b"Bearer secret"),
        (b"authorization", b"Bearer secret "),
        (b"authorization", b"Bearer \tsecret"),
        (b"authorization", b"secret"),
    ],
)
async def test_an_id_that_holds_the_key_is_replaced(secret: tuple[bytes, bytes]) -> None:
    """Ids are logged, keys never."""
    found = await serve(POLL, secret, (b"x-request-id", b"my-secret-id"))

    assert found.header(b"x-request-id") != [b"my-secret-id"]


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
@pytest.mark.parametrize("place", [0, 1])
async def test_an_id_that_holds_one_of_two_keys_is_replaced(name: bytes, place: int) -> None:
    """They are refused, and told of in the log."""
    keys = [b"secret", b"another"]
    found = await serve(POLL, (name, keys[place]), (name, keys[1 - place]), (b"x-request-id", b"my-secret-id"))

    assert found.header(b"x-request-id") != [b"my-secret-id"]


async def test_an_id_may_hold_the_word_before_the_key() -> None:
    """It is no secret."""
    found = await serve(POLL, (b"authorization", b"Bearer secret"), (b"x-request-id", b"bearer-Bearer"))

    assert found.header(b"x-request-id") == [b"bearer-Bearer"]


async def test_ids_are_new_each_time() -> None:
    """Where none is given."""
    layer_ids = [(await serve(POLL)).header(b"x-request-id")[0] for _ in range(2)]

    assert layer_ids[0] != layer_ids[1]


@pytest.mark.parametrize("path", [POLL, "/"])
async def test_a_page_of_a_listed_origin_may_read_every_answer(path: str) -> None:
    """Polls and all else."""
    found = await serve(path, (b"origin", ORIGIN.encode()), origins=(ORIGIN,))

    assert found.header(b"access-control-allow-origin") == [ORIGIN.encode()]
    assert len(found.header(b"x-request-id")) == 1


async def test_a_preflight_needs_no_key_and_no_store() -> None:
    """It is answered here."""
    app, events = FakeApp(), FakeEvents()

    found = await serve(POLL, (b"origin", ORIGIN.encode()), method="OPTIONS", origins=(ORIGIN,), app=app, events=events)

    assert (found.status, found.body) == (204, b"")
    assert found.header(b"access-control-allow-methods") == [b"GET, HEAD, POST"]
    assert len(found.header(b"x-request-id")) == 1
    assert (app.scopes, events.asked) == ([], [])


@pytest.mark.parametrize(("origins", "headers"), [((), [(b"origin", b"https://a.example")]), ((ORIGIN,), [])])
async def test_other_options_are_no_preflight(origins: tuple[str, ...], headers: list[tuple[bytes, bytes]]) -> None:
    """Without CORS, or without an origin."""
    app = FakeApp()

    await serve("/", *headers, method="OPTIONS", origins=origins, app=app)

    assert [scope["method"] for scope in app.scopes] == ["OPTIONS"]


async def test_a_poll_that_breaks_is_answered() -> None:
    """With a sentence and an id, and nothing of the fault."""
    found = await serve(POLL, events=FakeEvents(RuntimeError("the secret of the fault")))

    assert (found.status, found.body) == (500, broken().body)
    assert len(found.header(b"x-request-id")) == 1


@pytest.mark.parametrize(("method", "body"), [("GET", broken().body), ("HEAD", b"")])
async def test_a_request_that_breaks_before_its_answer_is_answered(method: str, body: bytes) -> None:
    """As a poll is."""
    found = await serve("/", method=method, app=FakeApp("before"))

    assert (found.status, found.body) == (500, body)
    assert found.header(b"content-type") == [b"application/problem+json"]
    assert len(found.header(b"x-request-id")) == 1


async def test_an_answer_that_breaks_off_is_not_begun_again() -> None:
    """The server closes the connection, which the caller notices."""
    found = await serve("/", app=FakeApp("within"))

    assert [message["type"] for message in found.messages] == ["http.response.start"]


@pytest.mark.parametrize(("method", "body"), [("GET", b"page"), ("HEAD", b"")])
async def test_a_response_is_two_messages(method: str, body: bytes) -> None:
    """In ASGI's words."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await respond(send, Reply(200, (HeaderFields([(b"etag", b'"1"')]),), b"page"), method, [(b"x", b"more")])

    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"1"'), (b"x", b"more")]},
        {"type": "http.response.body", "body": body},
    ]


class FakeStream:
    """A store's read that finds nothing new, and a registry; notes in which order things happen."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.waiter: StreamWaiter | None = None

    def at_once(self, question: StreamQuestion, address: str) -> AskedStream:
        """A store is to be read."""
        question.parse(Staleness(10, explicit=False))
        return AskedStream(question, 0.0, address)

    async def from_stores(self, asked: AskedStream) -> StreamWaiter:
        """Nothing is new, and whatever comes next may be a message about that."""
        asyncio.get_running_loop().call_soon(self.order.append, "message")
        return StreamWaiter(cast("Stream", self), asked.question, None, 0.0, "")

    def hold(self, waiter: StreamWaiter) -> None:
        """Take it."""
        self.order.append("held")
        asyncio.get_running_loop().call_later(0.01, waiter.deliver, Reply(204, (), b""))

    def leave(self, _waiter: StreamWaiter) -> None:
        """Forget it."""
        self.order.append("left")


async def test_no_message_falls_between_a_read_and_its_being_held() -> None:
    """It is registered in the very turn in which the read ends."""
    stream = FakeStream()
    front = Front(cast("Events", SimpleNamespace(held=stream)), cast("Stream", stream), Cors(()), "")
    layer = Layer(FakeApp(), front, Connections(front, socket_bounds(), Census(1)))
    scope: Scope = {"type": "http", "path": f"/api/v2/sessions/{uuid4()}/stream", "method": "GET", "headers": []}
    scope["query_string"] = b"offset=now&live=long-poll"
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody leaves")

    async def send(message: Message) -> None:
        messages.append(message)

    await layer(scope, receive, send)

    assert stream.order == ["held", "message", "left"]
    assert messages[0]["status"] == 204
