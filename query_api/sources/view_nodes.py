"""Reads of the view, those of each server by themselves: one that is away or slow holds up no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol, overload

from query_api.sources.circuit import Circuit
from query_api.sources.source_answer import SourceAnswer
from query_api.sources.view_reads import RoundTrips, View, ViewReads
from readmodel.values.arrivals import StreamRead
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold, Question, ViewArrivals, ViewPage


class Nodes(View, Protocol):
    """What answers polls and reads of streams from Redis, and knows on which servers it is now."""

    def node_of(self, session_id: str) -> str:
        """Name the server that a session is taken to be on."""

    def nodes(self) -> Collection[str]:
        """Name all servers that there are slices on."""


class ViewNodes:
    """Reads of the view by server. After a failover slices are on another one, of which nothing bad is known.

    `circuit` makes the circuit of a server; `database` is that of `ViewReads`.
    """

    def __init__(
        self, view: Nodes, circuit: Callable[[str], Circuit], max_bytes: int, database: Callable[[], str]
    ) -> None:
        self._view = view
        self._circuit = circuit
        self._max_bytes = max_bytes
        self._database = database
        self._reads: dict[str, ViewReads] = {}
        self.counted = RoundTrips()

    @overload
    async def read(self, question: Poll, principal: Hashable = None) -> SourceAnswer[ViewPage] | Cold: ...

    @overload
    async def read(self, question: StreamRead, principal: Hashable = None) -> SourceAnswer[ViewArrivals] | Cold: ...

    async def read(self, question: Question, principal: Hashable = None) -> Any:
        """Answer a poll, or read a stream; `principal` is who asks. Raises what `ViewReads.read` raises."""
        node = self._view.node_of(question.session_id)
        reads = self._reads.get(node) or self._begin(node)
        return await reads.read(question, principal)

    @property
    def nodes(self) -> Collection[str]:
        """The servers that there are slices on."""
        return self._view.nodes()

    @property
    def away(self) -> list[str]:
        """Those of them that are taken to be away."""
        return [node for node in self.nodes if node in self._reads and self._reads[node].circuit.is_away]

    async def close(self) -> None:
        """Cancel what is under way."""
        await asyncio.gather(*(reads.close() for reads in self._reads.values()))

    def _begin(self, node: str) -> ViewReads:
        """Make the reads of a server, and forget those of servers that there are no slices on any more."""
        nodes = self._view.nodes()
        self._reads = {name: reads for name, reads in self._reads.items() if name in nodes or not reads.idle}
        made = ViewReads(self._view, self._circuit(node), self._max_bytes, self._database, self.counted)
        self._reads[node] = made
        return made
