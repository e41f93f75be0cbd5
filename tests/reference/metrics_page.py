"""The page of metrics, from what projector and API register: nothing runs, and no store is asked."""

import asyncio
from collections.abc import Iterable
from unittest.mock import patch

import httpx
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from projector.metrics import TelemetryCollector
from projector.telemetry import Telemetry
from readside.api import opened
from readside.settings import Settings
from tests.reference.tables import code, table

HEAD = """# Metrics

`GET /metrics` answers in Prometheus' text format. No key is needed. [Alerts and a dashboard](../runbook.md) are made
of these.
A counter's samples end in `_total`; a histogram's in `_bucket`, `_sum` and `_count`.

*This page is made from what the processes register, by `make reference`.*
"""
API = """
## Of the query API

On the API's own port. What one process answers is the sum of all its workers; `workers` says how many there are.
Gauges that cannot
be added up say in their text whose value they show.

"""
PROJECTOR = """
## Of the projector

On `READSIDE_PROJECTOR_PORT`, where that is set. Only the leader knows the view: the other projectors give the gauges
of the view
without a value.

"""
SOMEWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
"""Nobody listens there."""


def metrics_page() -> str:
    """Write the page."""
    return HEAD + API + _rows(asyncio.run(_of_the_api())) + PROJECTOR + _rows(TelemetryCollector(Telemetry()).collect())


async def _of_the_api() -> list[Metric]:
    """Build an API over stores that are not there, and take what it would tell."""
    settings = Settings(
        database_url=SOMEWHERE, replica_urls="", listen_url="", redis_url="unix:///nowhere/redis", auth="none",
        api_keys="", jwt_jwks="", jwt_secret="",
    )  # fmt: skip
    told: list[Metric] = []

    def register(_: CollectorRegistry, collector: Collector) -> None:
        told.extend(collector.collect())

    with structlog.testing.capture_logs(), patch.object(CollectorRegistry, "register", register):
        async with (
            opened(settings.api_config()) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
        ):
            (await client.get("/metrics")).raise_for_status()
    return told


def _rows(families: Iterable[Metric]) -> str:
    return table(
        ("name", "type", "labels", "meaning"),
        (
            (code(_name(one)), one.type, ", ".join(map(code, _labels(one))) or "–", one.documentation)
            for one in families
        ),
    )


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> tuple[str, ...]:
    return tuple(family._labelnames)  # type: ignore[attr-defined]  # each kind of family has them
