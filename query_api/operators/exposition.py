"""The API's metrics as Prometheus' text: read off its parts when somebody asks, those of all workers together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from query_api.access.gate import Gate
from query_api.doorway.census import Census
from query_api.memory.content_coding import GzipForms
from query_api.memory.response_cache import ResponseCache
from query_api.operators.exchange import Exchange, Merge
from query_api.requests.held_polls import HeldPolls
from query_api.requests.places import WaitingPlaces
from query_api.requests.stats import Stats
from query_api.requests.waiter import ENDINGS
from query_api.sources.circuit import Circuit
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import Fallback
from query_api.sources.reader import EventsReader
from query_api.sources.stream_reader import StreamReader
from query_api.sources.view_nodes import ViewNodes
from query_api.streams.stats import StreamStats
from readmodel.runtime.histogram import Histogram

PUBLISH_SECONDS = 1.0
MERGE: dict[str, Merge] = {
    "readside_lag_seconds": max,
    "readside_as_of_timestamp_seconds": min,
    "readside_max_staleness_seconds": max,
    "readside_store_away": max,
    "readside_connections_usage": max,
    "readside_jwks_age_seconds": max,
    "readside_replica_fit": min,
    "readside_replica_lag_seconds": max,
    "readside_slices": max,
    "readside_slices_heard": min,
    "readside_api_slice_as_of_age_seconds": max,
    "readside_redis_nodes": max,
    "readside_redis_nodes_away": max,
}
"""How the workers' gauges become one; all others are added up."""


@dataclass(frozen=True, slots=True)
class MetricSources:
    """The parts whose numbers are shown; `postgres` is what is known of that store."""

    stats: Stats
    gate: Gate
    cache: ResponseCache
    forms: GzipForms
    streams: StreamStats
    stream_reader: StreamReader
    held: HeldPolls
    places: WaitingPlaces
    view_nodes: ViewNodes
    cold: ColdPolls
    reader: EventsReader
    postgres: Circuit
    census: Census
    max_staleness_seconds: float


class Exposition:
    """Renders the metrics."""

    def __init__(self, watched: MetricSources, exchange: Exchange) -> None:
        self._watched = watched
        self._exchange = exchange

    def text(self) -> bytes:
        """Prometheus' text format, of all workers."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_MetricFamilies(self._exchange.everybodys(list(self.families()))))
        return generate_latest(registry)

    async def run(self) -> None:
        """Publish for the other workers each second, and a last time in the end."""
        try:
            while True:
                self._exchange.publish(self.families())
                await asyncio.sleep(PUBLISH_SECONDS)
        finally:
            self._exchange.publish(self.families())

    def families(self) -> Iterator[Metric]:
        """This process' metrics: always the same families, some without a value."""
        watched = self._watched
        yield from watched.stats.families()
        yield from _of_the_gate(watched.gate)
        yield from _of_memory(watched.cache, watched.forms)
        yield from _of_compression(watched.forms)
        yield from _of_held_polls(watched.held, watched.places)
        yield from watched.streams.families()
        yield _stream_fallbacks(watched.stream_reader)
        yield from _of_the_view(watched.view_nodes)
        yield from _of_postgres(watched.cold.primary, watched.reader)
        yield from _of_replicas(watched.cold)
        yield from _of_connections(watched.census)
        yield from _of_freshness(watched)
        yield from _of_slices(watched.cache)


class _MetricFamilies:
    """Hands over families that were made beforehand."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"readside_{name}", text, value=value)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(f"readside_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(f"readside_{name}", text, histogram.buckets(), histogram.seconds)


def _of_the_gate(gate: Gate) -> Iterator[Metric]:
    refused = CounterMetricFamily(
        "readside_refusals", "Requests that the access check refused, by reason.", labels=["reason"]
    )
    for reason, count in sorted(gate.denials.counts.items()):
        refused.add_metric([reason], count)
    yield refused
    labels = ["kind", "name"]
    let_in = CounterMetricFamily(
        "readside_principal_requests",
        "Requests that the access check let in: of each key by its name, of all tokens together.",
        labels=labels,
    )
    denied = CounterMetricFamily(
        "readside_principal_refusals",
        "Requests of known keys and tokens that were refused: above the allowed rate, or without the right.",
        labels=labels,
    )
    for kind, name, requests, refusals in gate.principals.counts():
        let_in.add_metric([kind, name], requests)
        denied.add_metric([kind, name], refusals)
    yield let_in
    yield denied
    tokens = gate.tokens
    yield _gauge(
        "jwks_age_seconds", "Age of the key set that tokens are checked with.", tokens.age_seconds if tokens else None
    )
    yield _counter("jwks_failures", "Times that the key set could not be read.", tokens.failures if tokens else 0)


def _of_memory(cache: ResponseCache, forms: GzipForms) -> Iterator[Metric]:
    yield _gauge("response_cache_entries", "Answers kept in memory.", len(cache))
    yield _gauge("response_cache_bytes", "Bytes that answers take in memory.", cache.bytes + forms.bytes)
    yield _gauge(
        "response_cache_max_bytes", "Bytes that answers may take in memory.", cache.max_bytes + forms.max_bytes
    )
    yield _counter("response_cache_evictions", "Answers that left memory to make room for others.", cache.evictions)
    yield _counter("response_cache_dropped", "Answers that left memory since their session changed.", cache.dropped)
    yield _counter("response_cache_breaks", "Breaks in the stream of changes; each emptied the memory.", cache.breaks)
    yield _counter("changes_heard", "Messages about a batch of changes that were heard.", cache.messages)


def _of_compression(forms: GzipForms) -> Iterator[Metric]:
    yield _counter("answers_compressed", "Answers that were compressed, for clients that ask for it.", forms.made)
    yield _counter(
        "compressions_refused",
        "Polls answered without compression, because too many waited for it or one waited too long.",
        forms.refused,
    )


def _of_held_polls(held: HeldPolls, places: WaitingPlaces) -> Iterator[Metric]:
    yield _gauge("held_polls", "Polls that are held, until there is news or until an instant is passed.", places.taken)
    yield _gauge("held_polls_bound", "Polls that may be held: READSIDE_MAX_WAITING.", places.most)
    yield _counter(
        "held_polls_refused", "Polls refused because READSIDE_MAX_WAITING polls were held already.", places.refused
    )
    yield _counter("held_polls_woken", "Times that a message woke the polls held for one answer.", held.wakes)
    yield _counter(
        "held_polls_looked_at",
        "Times that held polls were checked without a message, where no message would tell of news.",
        held.looks,
    )
    yield _counter("held_polls_reads", "Reads of a store made for held polls.", held.reads)
    ended = CounterMetricFamily(
        "readside_held_polls_ended", "Polls that waited for news and have ended, by reason.", labels=["reason"]
    )
    for ending in ENDINGS:
        ended.add_metric([ending], held.endings[ending])
    yield ended


def _stream_fallbacks(reader: StreamReader) -> Metric:
    fallbacks = CounterMetricFamily(
        "readside_stream_fallbacks",
        "Reads of streams that Postgres answered, by the reason why the view could not.",
        labels=["reason"],
    )
    for reason, count in reader.fallbacks.items():
        fallbacks.add_metric([reason], count)
    return fallbacks


def _of_the_view(view_nodes: ViewNodes) -> Iterator[Metric]:
    counted = view_nodes.counted
    yield _counter("view_reads_shared", "Polls that shared another's read of Redis.", counted.shared)
    yield _histogram(
        "view_round_trip_seconds", "Time of a round trip to Redis for one or more polls.", counted.durations
    )
    yield _gauge("redis_nodes", "Redis servers that hold slices of the view.", len(view_nodes.nodes))
    yield _gauge("redis_nodes_away", "Redis servers with slices of the view whose calls fail.", len(view_nodes.away))


def _of_postgres(fallback: Fallback, reader: EventsReader) -> Iterator[Metric]:
    fallbacks = CounterMetricFamily(
        "readside_fallbacks", "Polls that Postgres answered, by the reason why the view could not.", labels=["reason"]
    )
    for reason, count in reader.fallbacks.items():
        fallbacks.add_metric([reason], count)
    yield fallbacks
    yield _counter("fallback_queries", "Queries sent to Postgres.", fallback.sent)
    yield _counter("fallback_shared", "Polls that shared another's query of Postgres.", fallback.shared)
    yield _counter(
        "fallback_remembered", "Polls of unknown sessions that a recent query answered.", fallback.remembered
    )
    refused = CounterMetricFamily(
        "readside_fallback_refused", "Queries refused, by the bound that they would have passed.", labels=["reason"]
    )
    for bound, count in fallback.refused.items():
        refused.add_metric([bound], count)
    yield refused
    yield _gauge("fallback_waiting", "Queries that wait for others to end.", fallback.waiting)
    yield _gauge(
        "fallback_principals_waiting", "Keys and tokens' subjects whose queries wait.", fallback.principals_waiting
    )
    yield _gauge("fallback_running", "Queries that Postgres works on.", fallback.running)
    yield _histogram("fallback_query_seconds", "Time of a query of Postgres, without its wait.", fallback.durations)


def _of_replicas(cold: ColdPolls) -> Iterator[Metric]:
    answers = CounterMetricFamily(
        "readside_cold_polls", "Polls that PostgreSQL answered, by server.", labels=["server"]
    )
    answers.add_metric(["primary"], cold.by_primary)
    fit = GaugeMetricFamily("readside_replica_fit", "1 while a hot standby may answer polls.", labels=["replica"])
    lag = GaugeMetricFamily(
        "readside_replica_lag_seconds",
        "Age of what a hot standby holds; no value where it is not known.",
        labels=["replica"],
    )
    for replica in cold.replicas.all:
        answers.add_metric([replica.name], replica.answers)
        fit.add_metric([replica.name], int(replica.is_fit))
        if replica.lag_seconds is not None:
            lag.add_metric([replica.name], replica.lag_seconds)
    yield answers
    yield _counter(
        "replica_handed_on", "Polls that a hot standby was asked first and the primary answered.", cold.handed_on
    )
    yield fit
    yield lag


def _of_connections(census: Census) -> Iterator[Metric]:
    yield _gauge("connections", "Open connections of clients.", census.open)
    yield _gauge("connections_bound", "Connections that are allowed; past them new clients get 503.", census.bound)
    yield _gauge(
        "connections_usage",
        "Part of the bound of connections in use, of the worker that is nearest to its own.",
        census.usage,
    )
    yield _counter("connections_accepted", "Connections that were accepted.", census.accepted)
    ended = CounterMetricFamily(
        "readside_connections_ended", "Connections that the API refused or ended, by reason.", labels=["reason"]
    )
    for reason, count in census.ended.items():
        ended.add_metric([reason], count)
    yield ended


def _of_freshness(watched: MetricSources) -> Iterator[Metric]:
    beat, hears_all = watched.cache.beat, None not in watched.cache.beats
    away = GaugeMetricFamily(
        "readside_store_away", "1 while calls of a store fail; for Redis, of any of its servers.", labels=["store"]
    )
    away.add_metric(["redis"], int(bool(watched.view_nodes.away)))
    away.add_metric(["postgres"], int(watched.postgres.is_away))
    yield away
    yield _gauge("workers", "Processes of this API.", 1)
    yield _gauge("workers_hearing", "Processes of this API that hear the projector's beats.", int(hears_all))
    yield _gauge(
        "lag_seconds",
        "How old the last as-of heard is, of the worker and the slice with the oldest; no value while none is heard.",
        None if beat is None else beat.lag_seconds(time.monotonic()),
    )
    yield _gauge(
        "as_of_timestamp_seconds",
        "The last as-of heard, seconds since 1970 by Postgres' clock, of the worker and the slice with the oldest.",
        None if beat is None else beat.as_of_us / 1e6,
    )
    yield _gauge("max_staleness_seconds", "READSIDE_MAX_STALENESS_SECONDS.", watched.max_staleness_seconds)


def _of_slices(cache: ResponseCache) -> Iterator[Metric]:
    """Tell of each slice; their number bounds the label."""
    beats, now = cache.beats, time.monotonic()
    yield _gauge("slices", "Slices of the view.", len(beats))
    yield _gauge(
        "slices_heard", "Slices whose beats are heard, of the worker that hears the fewest.", sum(map(bool, beats))
    )
    ages = GaugeMetricFamily(
        "readside_api_slice_as_of_age_seconds",
        "How old the last as-of heard of each slice is, of the worker with the oldest.",
        labels=["slice"],
    )
    for index, beat in enumerate(beats):
        if beat is not None:
            ages.add_metric([str(index)], beat.lag_seconds(now))
    yield ages
