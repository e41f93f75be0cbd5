"""What Prometheus gets of real processes: sums over all workers, and every metric that rules and dashboard name."""

import json
import os
import re
import shutil
import signal
import subprocess
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml
from prometheus_client.parser import text_string_to_metric_families

from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import free_port
from tests.support.commanding import Site
from tests.support.keys import HEADERS, KEY
from tests.support.projecting import Writer
from tests.support.scraping import Scrape, series
from tests.support.servers import connected, fresh_database
from tests.support.signing import ed25519, key_set
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
DASHBOARD = ROOT / "deploy/grafana/readside.json"
MISSING = "The alert rules are tested with promtool: `make install-tools` (Debian: apt-get install prometheus)."
POLLS = "readside_polls_total{source=%s,status=%d}"


@dataclass
class Service:
    """A projector and an API with two workers, as processes."""

    site: Site
    api: Process
    api_url: str
    projector_url: str

    async def text(self, url: str) -> str:
        """Scrape, over a connection of its own: which worker gets it is chance."""
        async with httpx.AsyncClient(verify=False) as client:
            return (await client.get(f"{url}/metrics")).raise_for_status().text

    async def scrape(self) -> Scrape:
        """Scrape the API."""
        return series(await self.text(self.api_url))

    async def poll(self, session_id: str, **headers: str) -> httpx.Response:
        """Poll, over a connection of its own."""
        async with httpx.AsyncClient(verify=False) as client:
            path = f"{self.api_url}/api/v2/sessions/{session_id}/events"
            return await client.get(path, headers={**HEADERS, **headers})

    def workers(self) -> list[int]:
        """The workers' process ids."""
        children = Path(f"/proc/{self.api.pid}/task/{self.api.pid}/children").read_text().split()
        return [pid for pid in map(int, children) if "spawn_main" in command_line(pid)]


def command_line(pid: int) -> str:
    """How a process was started; nothing when it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


@asynccontextmanager
async def running(database_url: str, redis_url: str, jwks: Path) -> AsyncIterator[Service]:
    """Start both, of a view of two slices, and wait until both workers hear of it; the API believes tokens."""
    projector_port, api_port = free_port(), free_port()
    settings = {"API_KEYS": f"test:{KEY}", "JWT_JWKS": str(jwks), "PROJECTOR_PORT": str(projector_port)}
    settings["REPLICA_URLS"] = database_url  # no standby, and told of as one that is left out
    site = Site.of(database_url, redis_url, SLICES="2", **settings)
    await site.install()
    async with site.projector() as projector:
        api = await site.start("api", "--port", str(api_port), "--workers", "2")
        service = Service(site, api, f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{projector_port}")
        try:
            await projector.says("live")
            await eventually(lambda: hearing(service, 2), "both workers hear the beats")
            yield service
        finally:
            api.send_signal(signal.SIGTERM)
            await api.communicate()


async def hearing(service: Service, workers: int) -> bool:
    """Whether so many workers hear the beats."""
    try:
        return (await service.scrape()).get("readside_workers_hearing") == workers
    except httpx.HTTPError:
        return False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """Both processes, for all these tests."""
    jwks = tmp_path_factory.mktemp("keys") / "jwks.json"
    jwks.write_bytes(key_set(ed25519()))
    await postgres_server.start()  # a test may have stopped it
    await redis_server.start()
    async with fresh_database(postgres_server) as url, running(url, redis_server.url(), jwks) as started:
        yield started


@pytest.mark.asyncio(loop_scope="module")
async def test_one_scrape_tells_of_all_workers(service: Service) -> None:
    """Polls of either worker are counted once, in every scrape from then on; also when a worker was killed since."""
    async with connected(service.site.database_url) as connection:
        session_id = await Writer(connection).session()
    sent: Counter[str] = Counter()
    seen = 0.0

    async def poll(times: int) -> None:
        for place in range(times):
            headers = {"readside-max-staleness": "0"} if place % 4 == 0 else {}
            answer = await service.poll(session_id, **headers)
            sent[POLLS % (answer.headers["readside-source"], answer.status_code)] += 1
            sent[POLLS % ("none", (await service.poll("not-an-id")).status_code)] += 1

    async def all_told() -> bool:
        nonlocal seen
        now = await service.scrape()
        total = sum(value for name, value in now.items() if name.startswith("readside_polls_total"))
        assert total >= seen, "a sum went back"
        seen = total
        return {name: now.get(name) for name in sent} == sent

    await poll(20)
    await eventually(all_told, "every poll is counted")
    first = await service.scrape()
    killed, *_ = before = service.workers()
    os.kill(killed, signal.SIGKILL)
    await eventually(lambda: sorted(service.workers()) != sorted(before) and len(service.workers()) == 2, "a new one")
    await eventually(lambda: hearing(service, 2), "it hears the beats")
    await poll(20)
    await eventually(all_told, "every poll is counted, those of the dead one too")
    last = await service.scrape()

    assert len(before) == 2
    assert (first["readside_workers"], last["readside_workers"]) == (2, 2)
    assert sum(sent.values()) == 80
    assert last["readside_poll_duration_seconds_count{source=postgres}"] == sent[POLLS % ("postgres", 200)]
    assert last["readside_fallbacks_total{reason=asked}"] == 10
    assert 0 <= last["readside_lag_seconds"] < 60


@pytest.mark.asyncio(loop_scope="module")
async def test_every_metric_that_is_named_is_served(service: Service) -> None:
    """Rules and dashboard name nothing that no process serves, and the dashboard shows all that is served."""
    texts = [await service.text(url) for url in (service.api_url, service.projector_url)]
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    served = {sample.name for family in families for sample in family.samples}
    shown = named(*expressions(json.loads(DASHBOARD.read_text())["panels"]))
    parts = ("_bucket", "_count", "_sum", "_total", "")

    assert named(*(rule["expr"] for rule in rules())) - served == set()
    assert shown - served == {"readside_replica_lag_seconds"}  # of standbys alone: tests/integration/test_replicas.py
    assert [family.name for family in families if not {family.name + part for part in parts} & shown] == []
    for text in texts:
        linted = promtool("check", "metrics", given=text)
        assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def rules() -> Iterator[dict[str, str]]:
    """Every alert rule."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def expressions(panels: list[dict[str, list[dict[str, str]]]]) -> Iterator[str]:
    """Every query of the dashboard."""
    for panel in panels:
        for target in panel.get("targets", []):
            yield target["expr"]


def named(*expressions: str) -> set[str]:
    """The metrics of ours in PromQL."""
    return {name for expression in expressions for name in re.findall(r"readside_\w+", expression)}


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own tool."""
    program = shutil.which("promtool")
    if program is None:
        pytest.fail(MISSING, pytrace=False)
    return subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False, cwd=RULES.parent
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "--lint-fatal", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    """Rules and scrape config are right in Prometheus' eyes, and each alert fires when it should and not before."""
    ended = promtool(*arguments)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """Prometheus reads each of them, when Grafana has put its variables in."""
    asked = [
        re.sub(r"\$__rate_interval", "1m", re.sub(r"\$(api|projector)", ".*", expression))
        for expression in expressions(json.loads(DASHBOARD.read_text())["panels"])
    ]
    recorded = [{"record": f"query:{place}", "expr": expression} for place, expression in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    ended = promtool("check", "rules", str(tmp_path / "rules.yml"))

    assert len(asked) > 40
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tested_and_is_in_the_runbook() -> None:
    """Each is seen firing in the tests of the rules, and leads to its section; the runbook has no other sections."""
    names = [rule["alert"] for rule in rules()]
    tests = (RULES.parent / "rules_test.yml").read_text()
    headings = re.findall(r"^## (Readside\w+)$", (ROOT / "specs/runbook.md").read_text(), re.MULTILINE)

    assert headings == names
    assert [name for name in names if f"runbook_url: specs/runbook.md#{name.lower()}" not in tests] == []
    assert all(
        rule["annotations"]["runbook_url"] == f"specs/runbook.md#{rule['alert'].lower()}"  # type: ignore[index]
        for rule in rules()
    )


def test_no_label_could_hold_a_session() -> None:
    """The labels of all our metrics are words of ours: a value for each session would fill any Prometheus."""
    source = "".join(path.read_text() for name in ("projector", "query_api") for path in (ROOT / name).rglob("*.py"))
    labels = {label for found in re.findall(r"labels=\[([^\]]*)\]", source) for label in re.findall(r'"(\w+)"', found)}

    assert labels == {"source", "status", "reason", "store", "cause", "slice", "server", "replica"}
