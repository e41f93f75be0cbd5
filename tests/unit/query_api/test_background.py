"""What runs beside the requests, and what happens when something breaks."""

import asyncio
import signal

import pytest

from query_api.operators.health import KEPT_SECONDS, Readiness
from query_api.sources.circuit import RETRY_SECONDS, Circuit
from query_api.sources.projector_requests import ProjectorRequests
from readmodel.errors import ConfigurationError, EventLogUnavailable, SchemaMissing, ViewUnavailable
from readside import background
from readside.api import Process, create_app, prefix
from readside.api_server import listening
from tests.fakes.projector_line import FakeLine
from tests.support.builders import API
from tests.support.stands import fake_stand
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"


async def test_requests_go_out_by_themselves() -> None:
    """Warms soon, touches in their time."""
    line = FakeLine()
    requests = ProjectorRequests(line, hot_ttl_seconds=0.08)
    requests.warm(SID)
    requests.touch(SID)
    task = asyncio.create_task(requests.run())
    await eventually(lambda: len(line.sent) >= 2, "both requests")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert (line.asked("warm"), line.asked("touch")) == ([{SID}], [{SID}])


async def test_a_background_task_that_fails_takes_the_process_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason in the log."""
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)

    async def fail() -> None:
        raise ZeroDivisionError("a bug")

    task = background.start(fail())
    await asyncio.wait([task])
    await asyncio.sleep(0)

    assert raised == [signal.SIGTERM]
    assert "a bug" in capsys.readouterr().out


async def test_one_that_ends_or_is_cancelled_takes_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shutdown is no failure."""
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    tasks = [background.start(asyncio.sleep(0)), background.start(asyncio.sleep(3600))]
    await asyncio.wait(tasks[:1])
    tasks[1].cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)

    assert raised == []


def test_a_circuit_says_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a line a poll."""
    now = [10.0]
    circuit = Circuit("postgres", lambda: now[0])
    error = EventLogUnavailable("PostgreSQL does not answer.")
    for _ in range(5):
        circuit.failed(error, now[0])
        now[0] += RETRY_SECONDS
        circuit.admit()
    circuit.succeeded()
    circuit.succeeded()

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[1].split("  ")[0].strip() for line in lines] == ["store is away", "store answers again"]


def test_a_circuit_lets_one_caller_a_second_try() -> None:
    """The others are told what the last one was told."""
    now = [10.0]
    circuit = Circuit("postgres", lambda: now[0])
    circuit.failed(EventLogUnavailable("away."), now[0])
    now[0] += RETRY_SECONDS
    circuit.admit()

    with pytest.raises(EventLogUnavailable, match="away"):
        circuit.admit()


async def test_readiness_is_asked_once_a_second() -> None:
    """Probes cost the stores next to nothing."""
    now, asked = [10.0], [0]

    async def up() -> None:
        asked[0] += 1

    async def down() -> None:
        raise ViewUnavailable("away.")

    readiness = Readiness({"postgres": up, "redis": down}, lambda: now[0])
    states = [await readiness.state() for _ in range(3)]
    now[0] += KEPT_SECONDS
    await readiness.state()

    assert states == [{"postgres": True, "redis": False}] * 3
    assert asked == [2]


async def test_readiness_tells_what_somebody_must_mend() -> None:
    """As long as it is so, though the other store answers."""
    now, wrong = [10.0], [True]

    async def postgres() -> None:
        if wrong[0]:
            raise SchemaMissing("column message is missing.")

    async def redis() -> None:
        pass

    readiness = Readiness({"postgres": postgres, "redis": redis}, lambda: now[0])
    assert readiness.refusal is None
    await readiness.state()
    assert str(readiness.refusal) == "column message is missing."
    wrong[0], now[0] = False, now[0] + KEPT_SECONDS
    await readiness.state()

    assert readiness.refusal is None


async def test_a_bug_is_500_without_its_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has them; polls and other routes alike."""
    async with fake_stand(cors_origins=("https://a.example",)) as stand:

        def fail(*_: object) -> None:
            raise ZeroDivisionError("secret detail")

        monkeypatch.setattr("query_api.polls.events._parsed", fail)
        monkeypatch.setattr("query_api.operators.routes.parse_page", fail)
        headers = {"origin": "https://a.example"}
        answers = [
            await stand.poll(SID, **headers),
            await stand.client.get("/api/v2/projection/sessions", headers=headers),
        ]

    log = capsys.readouterr().out
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "secret" not in answer.text
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
    assert log.count("ZeroDivisionError: secret detail") >= 2


async def test_an_application_that_was_not_started_says_so() -> None:
    """A server without the lifespan protocol would answer nothing right."""
    app = create_app(API)

    with pytest.raises(RuntimeError, match="lifespan"):
        await app({"type": "http"}, _never, _nowhere)
    assert isinstance(app, Process)


async def _never() -> dict[str, object]:
    return {}


async def _nowhere(_: object) -> None:
    return None


@pytest.mark.parametrize(("given", "path"), [("", ""), ("/", ""), ("a", "/a"), ("/a/b/", "/a/b")])
def test_a_prefix_has_one_form(given: str, path: str) -> None:
    """However it was written."""
    assert prefix(given) == path


def test_an_address_of_others_is_one_sentence() -> None:
    """Names the address."""
    with pytest.raises(ConfigurationError, match=r"cannot listen on 203\.0\.113\.1, port 0: "):
        listening("203.0.113.1", 0)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "\udcff"])
def test_what_is_no_host_is_one_sentence(host: str) -> None:
    """Python raises no OSError for it."""
    with pytest.raises(ConfigurationError, match=r"cannot listen on .*, port 0: no name of a host\.$"):
        listening(host, 0)


def test_a_failure_of_long_ago_tells_nothing_of_now() -> None:
    """A store that nobody has asked since is not shown as away for ever; who asks is still told to wait a second."""
    now = [100.0]
    circuit = Circuit("redis", lambda: now[0])
    assert not circuit.is_away
    circuit.failed(ViewUnavailable("Away."), 99.0)
    seen = [circuit.is_away]
    now[0] += 10
    seen.append(circuit.is_away)
    now[0] += 2
    seen.append(circuit.is_away)
    circuit.failed(ViewUnavailable("Away."), now[0])
    seen.append(circuit.is_away)
    circuit.succeeded()
    seen.append(circuit.is_away)

    assert seen == [True, True, False, True, False]
