"""OpenTelemetry traces, where OTEL_EXPORTER_OTLP_ENDPOINT says where to and readside[otel] is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog
from structlog.contextvars import get_contextvars

from readmodel.runtime import tracing
from readside.settings import otlp_endpoint

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

EXPORT_SECONDS = 5.0
"""A collector that takes longer to answer loses those spans."""
LEAVE_SECONDS = 1.0
"""A process that ends waits so long for its last spans to leave."""
WAITING_SPANS = 2_048
"""Spans that wait to leave; past it the oldest are lost."""

_log = structlog.get_logger(__name__)


@contextmanager
def traced(service: str) -> Iterator[None]:
    """Send this process' spans to the collector for as long as the block lasts, if one is named.

    The standard variables of OpenTelemetry hold (headers, OTEL_SERVICE_NAME, sampler). Nothing of it is imported where
    none is named; nothing that goes wrong with it is more than a line in the log.
    """
    exporter = _exporter() if otlp_endpoint() else None
    if exporter is None:
        yield
        return
    with exported(service, exporter):
        yield


def _exporter() -> SpanExporter | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(timeout=EXPORT_SECONDS)
    except ImportError:
        _log.warning(
            "no traces are sent", reason="OTEL_EXPORTER_OTLP_ENDPOINT is set: install readside[otel] (pip), or unset it"
        )
    except Exception as error:  # noqa: BLE001 (a wrong variable of OpenTelemetry's must not stop the service)
        _log.warning("no traces are sent", reason=f"OpenTelemetry cannot be set up: {type(error).__name__}")
    return None


@contextmanager
def exported(service: str, exporter: SpanExporter) -> Iterator[None]:
    """Send this process' spans to an exporter, in the background, for as long as the block lasts."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()  # of OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": service}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=WAITING_SPANS))
    tracing.use(_Tracer(provider.get_tracer("readside")))
    _log.info("traces are sent", service=resource.attributes.get("service.name"))
    try:
        yield
    finally:
        tracing.use(None)
        leaving = threading.Thread(target=provider.shutdown, daemon=True)  # which waits for a collector that is away
        leaving.start()
        leaving.join(LEAVE_SECONDS)


class _Tracer:
    """Makes OpenTelemetry's spans; attributes get our prefix, and the request's id is one, as on log lines."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, tracing.Value], parent: bytes | None) -> Iterator[tracing.Span]:
        """Begin a span; what is raised is noted by its class alone, since its text may tell too much."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        kind = SpanKind.SERVER if name == "poll" else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(
            name, _context(parent), kind=kind, record_exception=False, set_status_on_exception=False
        ) as made:
            noting = _Span(made)
            noting.note(**{**get_contextvars(), **attributes})
            try:
                yield noting
            except BaseException as error:
                made.set_attribute("error.type", type(error).__name__)
                made.set_status(Status(StatusCode.ERROR))
                raise


class _Span:
    def __init__(self, made: Any) -> None:
        self._made = made

    def note(self, **attributes: tracing.Value) -> None:
        """Set attributes."""
        for name, value in attributes.items():
            self._made.set_attribute(f"readside.{name}", value)


def _context(parent: bytes | None) -> Any:
    """The caller's context; None, which is the present one, where there is none."""
    if parent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent.decode("latin-1")})
