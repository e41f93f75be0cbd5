"""Traces: what is in them, that nothing is where nobody asked, and that a collector which is away harms nothing."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from query_api.sources.reader import Reader
from readmodel.runtime import tracing
from readside.tracing import exported, traced
from tests.integration.test_api_process import environment
from tests.integration.test_api_process import running as api_process
from tests.support.builders import BOTH_KEY, Way
from tests.support.commanding import Site
from tests.support.logs import logged
from tests.support.projecting import Bench, bench
from tests.support.stands import Stand, fake_stand, rows
from tests.support.waiting import eventually

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Gathered(SpanExporter):
    """Keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Any) -> SpanExportResult:
        """Keep them."""
        self.spans += spans
        return SpanExportResult.SUCCESS

    def named(self, name: str) -> list[dict[str, Any]]:
        """The attributes of the spans of one name, without our prefix."""
        return [
            {key.removeprefix("readside."): value for key, value in (span.attributes or {}).items()}
            for span in self.spans
            if span.name == name
        ]


@pytest.fixture
async def stand(way: Way) -> AsyncIterator[Stand]:
    """An API over fakes."""
    async with fake_stand(way) as made:
        yield made


async def test_a_poll_that_leaves_memory(stand: Stand) -> None:
    """A span each, with where it went and why, in the caller's trace; none for one that memory answers."""
    gathered, session_id = Gathered(), str(uuid4())
    await stand.write(session_id, rows(session_id, 3))
    with exported("test", gathered):
        parent = f"00-{TRACE}-00f067aa0ba902b7-01"
        cold = await stand.poll(session_id, x_request_id="mine", traceparent=parent, readside_max_staleness="1")
        await stand.heat(session_id)
        await stand.poll_from("redis", session_id, "?limit=2")
        await stand.poll_from("memory", session_id, "?limit=2")
        sources = [cold.headers["readside-source"]]
        missing = await stand.poll(str(uuid4()), "?limit=1&since=2026-01-01T00:00:00Z")

    first, *_, last = gathered.named("poll")
    assert sources == ["postgres"]
    assert first == {"session_id": session_id, "request_id": "mine", "source": "postgres", "status": 200}
    assert (last["status"], missing.status_code) == (404, 404)
    assert "memory" not in {span["source"] for span in gathered.named("poll")}
    assert {span["found"] for span in gathered.named("redis")} == {"cold", "hot"}
    assert {span["reason"] for span in gathered.named("postgres")} == {"cold"}
    assert gathered.named("postgres")[0]["request_id"] == "mine"
    traces = {span.name: span.context.trace_id for span in reversed(gathered.spans) if span.context}
    assert {f"{trace:032x}" for trace in traces.values()} == {TRACE}
    assert BOTH_KEY not in str([span.to_json() for span in gathered.spans])
    assert "step_created" not in str([span.to_json() for span in gathered.spans])


async def test_what_fails_is_noted_by_its_class(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text may tell too much."""

    async def broken(*_: object) -> None:
        raise ValueError(f"unforeseen {BOTH_KEY}")

    gathered = Gathered()
    monkeypatch.setattr(Reader, "read", broken)
    with exported("test", gathered), logged("info", [BOTH_KEY]):
        assert (await stand.poll(str(uuid4()))).status_code == 500

    (span,) = gathered.spans
    assert not span.status.is_ok
    assert (dict(span.attributes or {})["error.type"], span.events) == ("ValueError", ())
    assert BOTH_KEY not in span.to_json()


async def test_batches_and_loads_of_the_projector(database_url: str, redis_url: str) -> None:
    """One each."""
    gathered = Gathered()
    with exported("test", gathered):
        async with bench(database_url, redis_url) as made:
            session_id = await one_session(made)
        assert tracing._tracer is not None  # it ends with the block

    (load,) = [load for load in gathered.named("load") if load["session_id"] == session_id]
    batches = gathered.named("batch")
    assert (load["outcome"], load["attempts"]) == ("staged", 0)
    assert sorted(batch["n"] for batch in batches) == list(range(1, len(batches) + 1))
    assert any(batch["beat"] for batch in batches)
    assert any(batch["named"] for batch in batches)
    assert tracing._tracer is None


async def one_session(made: Bench) -> str:
    """A session that becomes hot."""
    async with made.projector():
        await made.caught_up()
        session_id = await made.writer.session()
        await made.hot(session_id)
        await made.writer.event(session_id)
        await made.caught_up()
    return session_id


@contextmanager
def collector(status: int = 200) -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A collector that takes OTLP over HTTP; its URL and what it got."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            got.append(request)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def services(got: list[ExportTraceServiceRequest]) -> set[tuple[str, str]]:
    """The (service, span) names that a collector got."""
    return {
        (attribute.value.string_value, span.name)
        for request in got
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
        for scope in resource.scope_spans
        for span in scope.spans
    }


async def test_both_processes_send_theirs(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes, real OTLP: with nothing set but where to; what has not left yet leaves at the end."""
    site = Site.of(database_url, redis_url)
    await site.install()
    with collector() as (url, got):
        settings = {**environment(database_url, redis_url, LOG_FORMAT="json"), "OTEL_EXPORTER_OTLP_ENDPOINT": url}
        arguments = [sys.executable, "-m", "readside", "projector"]
        projector = await asyncio.create_subprocess_exec(*arguments, env=settings, stderr=asyncio.subprocess.PIPE)
        assert projector.stderr is not None
        said = b""
        while b'"event": "live"' not in said:
            said += await projector.stderr.readline()
        async with api_process({**settings, "OTEL_SERVICE_NAME": "mine"}) as (_, client):
            await client.get(f"/api/v2/sessions/{uuid4()}/events")
        projector.terminate()
        assert await projector.wait() == 0

    assert b"traces are sent" in said
    assert services(got) >= {("readside-projector", "batch"), ("mine", "poll"), ("mine", "postgres")}


@pytest.mark.parametrize("answers", [None, 503], ids=["nobody listens", "it refuses"])
async def test_a_collector_that_is_away_harms_nothing(
    answers: int | None, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls are answered, the log says so once, and the process ends in time."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        url = stack.enter_context(collector(answers))[0] if answers else "http://127.0.0.1:1"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        lines = stack.enter_context(logged("info"))
        with traced("test"):
            for _ in range(20):
                assert (await stand.poll(str(uuid4()))).status_code == 404
            await eventually(lambda: lines.said("a library says"), "the log says so")
            leaving = loop.time()
        assert loop.time() - leaving < 20  # the exporter itself would try again for a minute

    assert 1 <= len(lines.said("a library says")) <= 3
    assert {line["level"] for line in lines.said("a library says")} <= {"warning", "error"}


async def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything goes on."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with logged("info") as lines, traced("test"), tracing.span("x") as span:
        span.note(a=1)

    (line,) = lines.said("no traces are sent")
    assert (line["level"], "readside[otel]" in line["reason"]) == ("warning", True)


async def test_without_the_variable_nothing_is_imported() -> None:
    """Neither by a server nor by a command (redis-py imports the SDK's metrics by itself where they are installed)."""
    code = """if True:
        import sys, readside.cli, readside.api, readside.projector, readside.tracing
        with readside.tracing.traced("x"):
            pass
        sys.exit(any(name.startswith(("opentelemetry.exporter", "opentelemetry.sdk.trace", "google.protobuf"))
                     for name in sys.modules))"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)

    assert await process.wait() == 0
