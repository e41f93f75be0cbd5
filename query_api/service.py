"""Everything that the HTTP side of one API process works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from query_api.access.gate import Gate
from query_api.config import ApiConfig
from query_api.doorway.connections import Connections
from query_api.doorway.front import Front
from query_api.operators.exposition import Exposition
from query_api.operators.health import Readiness, ViewCheck
from query_api.operators.lag_history import LagHistory
from query_api.polls.events import Events
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import Fallback
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.reader import EventsReader
from query_api.sources.view_nodes import ViewNodes
from readmodel.view.whole import WholeView


@dataclass(frozen=True, slots=True)
class Service:
    """The parts, wired by the composition root; `database` gives the identity of our own, "" while it is not known."""

    config: ApiConfig
    gate: Gate
    events: Events
    front: Front
    connections: Connections
    view: WholeView
    view_check: ViewCheck
    view_nodes: ViewNodes
    reader: EventsReader
    fallback: Fallback
    cold: ColdPolls
    database: Callable[[], str]
    requests: ProjectorRequests
    history: LagHistory
    readiness: Readiness
    exposition: Exposition
