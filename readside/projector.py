"""The projector's process: opens what it needs, builds its parts, runs them until a signal."""

from __future__ import annotations

import asyncio
import signal

import structlog

from projector.config import ProjectorConfig
from projector.health import serve
from projector.leader import Leader
from projector.report import Reporter
from projector.telemetry import Telemetry
from readmodel.redis.servers import open_servers
from readmodel.runtime.supervise import first_to_end
from readmodel.view.whole import WholeView
from readside import allocator, collector
from readside.descriptors import raise_limit

_log = structlog.get_logger(__name__)


async def run_projector(config: ProjectorConfig) -> None:
    """Run until SIGINT or SIGTERM. Outages are waited out; raises ConfigurationError for what waiting cannot mend."""
    allocator.keep_freed_memory()
    collector.spare()
    raise_limit()  # idle clients of the port for health and metrics would take the stores' descriptors under a low one
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    telemetry = Telemetry()
    servers = open_servers(config.redis_url, name="readside-projector")
    view = WholeView(servers, config.redis_prefix, config.slices)
    still_seconds = 1.0 + config.heartbeat_seconds
    reporter = Reporter(view.reporting, telemetry, still_seconds)
    _log.info("projector started", id=reporter.id)
    try:
        await first_to_end(
            _until(stop),
            Leader(config, view, telemetry).run(),
            reporter.run(),
            serve(telemetry, config.host, config.port, still_seconds),
        )
    finally:
        await reporter.leave()
        await servers.aclose()
    _log.info("projector stopped", id=reporter.id)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
