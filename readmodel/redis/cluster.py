"""A Redis Cluster: which node has which slot, as the nodes that know best tell it.

redis-py's own NodesManager believes the first node that answers, has no bound for that, takes 8 ms of the event loop to
enter 16,384 slots, and closes all connections each time. So the nodes are asked by clients of our own (ADR 0049).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from readmodel.redis.moving import MovingServers, answers, why_nobody
from readmodel.redis.overrides import NodePool, OwnClient
from readmodel.redis.url import Address, RedisUrl


@dataclass(frozen=True, slots=True)
class Topology:
    """Which node has which slots, as one of them tells it."""

    epoch: int
    is_ok: bool
    firsts: tuple[int, ...]
    ranges: tuple[tuple[int, int, Address], ...]
    nodes: frozenset[Address]
    ids: frozenset[str]
    told_by: Address

    def owner(self, slot: int) -> Address | None:
        """The master of a slot; None where it has none."""
        place = bisect_right(self.firsts, slot) - 1
        if place < 0 or slot > self.ranges[place][1]:
            return None
        return self.ranges[place][2]


def topology(told_by: Address, info: dict[str, str], slots: Sequence[Any]) -> Topology:
    """Read what a node replied to CLUSTER INFO and CLUSTER SLOTS."""

    def address(node: Sequence[Any]) -> Address:
        host = _text(node[0] or b"")
        return (told_by[0] if host in {"", "?"} else host), int(node[1])  # it does not know its own name

    told = sorted((int(first), int(last), address(master)) for first, last, master, *_ in slots)
    nodes = [node for _, _, *held_by in slots for node in held_by]
    return Topology(
        int(info["cluster_current_epoch"]),
        info["cluster_state"] == "ok",
        tuple(first for first, _, _ in told),
        tuple(told),
        frozenset(map(address, nodes)),
        frozenset(_text(node[2]) for node in nodes if len(node) > 2),
        told_by,
    )


def best(told: Sequence[Topology], ours: frozenset[str]) -> Topology:
    """Choose whom to believe: of those of our cluster, whoever knows of the latest election.

    Each failover and each slot that moves takes a new epoch, by the votes of most masters or of the node that gets the
    slot. So a node that the others cannot reach has an old one, and what it tells with it. A node that has left the
    cluster tells of no node that we know.
    """
    of_ours = [one for one in told if not ours or one.ids & ours] or told
    return max(of_ours, key=lambda one: (one.epoch, sum(last - first for first, last, _ in one.ranges), one.is_ok))


class ClusterServers(MovingServers):
    """The masters of a Redis Cluster."""

    clustered = True
    sharded = True
    database = 0
    check_seconds = 5.0

    def __init__(self, url: RedisUrl, open_node: Callable[[Address], NodePool]) -> None:
        super().__init__(open_node)
        self._seeds = url.nodes
        self._topology: Topology | None = None
        self._moved: dict[int, Address] = {}
        self._places: dict[int, Address] = {}
        self._name = f"the cluster of {url.hosts}"

    @property
    def name(self) -> str:
        """Name the cluster by the nodes of its URL."""
        return self._name

    def address(self, slot: int) -> Address:
        """Tell where a slot is taken to be: where it has no master, any node says so itself."""
        place = self._moved.get(slot) or self._places.get(slot)
        if place is None:
            owner = self._topology.owner(slot) if self._topology else None
            place = self._places[slot] = owner or (self._topology.told_by if self._topology else self._seeds[0])
        return place

    def follow(self, moved: MovedError) -> bool:
        """Note where a slot has moved: the error knows better than a topology that was read before."""
        self._moved[moved.slot_id] = (moved.host or self.address(moved.slot_id)[0], moved.port)
        self.ask_soon()
        return True

    def in_use(self) -> Iterable[Address]:
        """Keep the nodes of the URL, and of the cluster."""
        return chain(self._seeds, self._topology.nodes if self._topology else (), self._moved.values())

    def first_slots(self) -> Iterable[int]:
        """A slot of each master that has any."""
        ranges = self._topology.ranges if self._topology else ()
        return {master: first for first, _, master in reversed(ranges)}.values()

    async def read(self) -> None:
        """Ask all nodes that are known, and then those that they know, until most of them have told."""
        asked: set[Address] = set()
        told: list[Topology] = []
        wrong: list[Exception] = []
        moved = dict(self._moved)
        new = {*self._seeds, *(self._topology.nodes if self._topology else ())}
        while new:
            asked |= new
            said, failed = await answers(map(self._ask, new))
            told += said
            wrong += failed
            new = {node for one in told for node in one.nodes} - asked
            if 2 * len(told) > len(asked | new):
                break
        if not told:
            raise why_nobody(wrong)
        found = best(told, self._topology.ids if self._topology else frozenset())
        known = self._topology
        if known and found.ids & known.ids and found.epoch < known.epoch and len(told) < len(asked):
            raise RedisConnectionError("the nodes that answer know less than those that did")
        self._topology = found
        self._places = {}
        self._moved = {slot: place for slot, place in self._moved.items() if moved.get(slot) != place}

    async def _ask(self, node: Address) -> Topology:
        pipeline: Any = OwnClient.from_pool(self.pool_of(node)).pipeline(transaction=False)
        pipeline.execute_command("CLUSTER INFO")
        pipeline.execute_command("CLUSTER SLOTS")
        info, slots = await pipeline.execute()
        return topology(node, info, slots)

    async def identify(self) -> str:
        """Name the cluster by the smallest of its nodes' ids, which stay when masters and replicas change places.

        It has no id of its own. Where that very node leaves, or one with a smaller id joins, the name is another.
        """
        await self.settle(0)
        told_by = self._topology.told_by if self._topology else self._seeds[0]
        asked: Any = OwnClient.from_pool(self.pool_of(told_by))
        nodes = await asked.execute_command("CLUSTER NODES")
        return f"cluster/{min(node['node_id'] for node in nodes.values() if 'handshake' not in node['flags'])}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
