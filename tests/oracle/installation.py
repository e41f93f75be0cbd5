"""What a run's service is built on: its servers, what may be done to them alone, and how many slices the view has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from readmodel.view.slices import Slices
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK
from tests.support.redis_clusters import Node

if TYPE_CHECKING:
    from tests.oracle.site import Fault, Site


class FaultKind(Protocol):
    """Faults of one kind."""

    def all(self) -> list[Fault]:
        """Each of them."""


@dataclass(frozen=True)
class Installation:
    """The servers of a run."""

    name: str
    postgres: EmbeddedPostgres
    database_url: str
    redis_url: str
    master_of: Callable[[int], Awaitable[Node]]
    """The Redis that has a hash slot now."""
    faults: Callable[[Site], Sequence[FaultKind]]
    """What can be done to these servers, and to no other installation's."""
    slices: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    """Without READSIDE_, on top of those that every run has."""

    @property
    def has_one_redis(self) -> bool:
        """Whether no other Redis can take its place, with what that one holds."""
        return "+" not in self.redis_url.partition("://")[0]

    @property
    def has_standbys(self) -> bool:
        """Whether hot standbys answer cold polls."""
        return "REPLICA_URLS" in self.settings

    @property
    def view(self) -> Slices:
        """The slices, by the keys that they have."""
        return Slices("readside", count=self.slices, sharded="+cluster" in self.redis_url)


def only(server: EmbeddedRedis) -> Callable[[int], Awaitable[Node]]:
    """A cluster in which one server has every slot."""
    node = Node(server, LOOPBACK, 0, 0)

    async def master_of(_slot: int) -> Node:
        return node

    return master_of
