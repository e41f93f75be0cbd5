"""Faults of a Redis Cluster: masters that die, freeze or are cut off, elections by hand, slots and nodes that move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from redis.exceptions import RedisError, ResponseError

from readmodel.view.slices import slot_of
from tests.oracle.site import Fault, Hindrance, Site
from tests.support.redis_clusters import NODE_TIMEOUT_MS, Node, RedisCluster

NODE_TIMEOUT_SECONDS = NODE_TIMEOUT_MS / 1000
ELECTION_SECONDS, WHOLE_SECONDS = 60, 90
MOVED_AT_ONCE = 3
KINDS = (":s:", ":e:", ":i:", ":position", ":hot")
UNHEARD_SECONDS = 0.6
"""For so long a replica misses what its master is told, before the master dies: shorter than an election takes."""


@dataclass
class ClusterFaults:
    """What can be done to the nodes of a cluster, always to those of a random slice."""

    site: Site
    cluster: RedisCluster

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("master killed, its replica elected", self.kill, 32, 2),
            Fault("master killed, back before an election, empty", self.lose_everything, 16, 1),
            Fault("failover by hand", self.fail_over, 24),
            Fault("failover that loses the last writes", self.lose_writes, 32, 1.5),
            Fault("master paused, its replica elected", self.pause, 24, 3),
            Fault("master paused shortly", self.pause_shortly, 12),
            Fault("master cut off from the bus", self.cut_off, 32, 3),
            Fault("slot moved", self.move_slot, 32, 2),
            Fault("node added and taken away", self.add_and_remove, 16, 5),
            Fault("master and replica killed, back empty", self.kill_both, 16, 4),
        ]

    async def kill(self) -> None:
        """The outage is over when the replica is the master."""
        _, master, replica = await self._struck()
        await self.cluster.kill(master)
        self.site.mends.append(partial(self._back, master))
        await self._elected(replica)

    async def lose_everything(self) -> None:
        """A master without a dump that restarts at once is a master still, and its replica follows it into the void."""
        _, master, _ = await self._struck()
        await self.cluster.kill(master)
        await self._back(master)

    async def fail_over(self) -> None:
        """With the master's consent, without it, or without anybody's."""
        _, _, replica = await self._struck()
        await replica.run("CLUSTER FAILOVER", *self.site.random.choice(((), ("FORCE",), ("TAKEOVER",))))
        await self._elected(replica)

    async def lose_writes(self) -> None:
        """The replica hears nothing for a while, and then it is the master."""
        _, master, replica = await self._struck()
        replica.pause()
        await master.run("CLIENT KILL", "TYPE", "replica")
        await self.site.pause(UNHEARD_SECONDS)
        await self.cluster.kill(master)
        self.site.mends.append(partial(self._back, master))
        replica.resume()
        await replica.run("CLUSTER FAILOVER", "TAKEOVER")
        await self._elected(replica)

    async def pause(self) -> None:
        """Its connections stay; when it goes on it takes itself for the master for a moment."""
        _, master, replica = await self._struck()
        master.pause()
        try:
            await self._elected(replica)
            await self.site.pause(1)
        finally:
            master.resume()

    async def pause_shortly(self) -> None:
        """Too short for an election."""
        _, master, _ = await self._struck()
        master.pause()
        await self.site.pause(0.8 * NODE_TIMEOUT_SECONDS)
        master.resume()

    async def cut_off(self) -> None:
        """The others elect its replica, while it takes writes from whoever reaches it, for a while."""
        _, master, replica = await self._struck()
        self.cluster.cut(master)
        try:
            await self._elected(replica)
            await self.site.pause(1)
        finally:
            self.cluster.mend()

    async def move_slot(self) -> None:
        """Slots of slices go to another master under load, in steps: meanwhile there is ASK, and TRYAGAIN."""
        slots = self.site.random.sample(self._slots(), MOVED_AT_ONCE)
        await self._whole()
        for slot in slots:
            source = await self.cluster.master_of(slot)
            masters = [node for node in self.cluster.nodes if node is not source and await node.is_master()]
            await self._move(slot, self.site.random.choice(masters))

    async def add_and_remove(self) -> None:
        """A new master gets some slots, and gives them back before it leaves."""
        await self._whole()
        new = await self.cluster.add()
        slots = self.site.random.sample(self._slots(), MOVED_AT_ONCE)
        homes = [await self.cluster.master_of(slot) for slot in slots]
        for slot in slots:
            await self._move(slot, new)
        await self.site.pause(1)
        for slot, home in zip(slots, homes, strict=True):
            await self._move(slot, home)
        await self._whole()
        await self.cluster.remove(new)

    async def kill_both(self) -> None:
        """Nobody is left to elect: the cluster is down, and then it begins with nothing in a third of its slots."""
        _, master, replica = await self._struck()
        await self.cluster.kill(replica)
        await self.cluster.kill(master)
        await self.site.pause(3 * NODE_TIMEOUT_SECONDS)
        await self._back(master)
        await self._back(replica)
        await self._whole()

    async def _struck(self) -> tuple[int, Node, Node]:
        """The slot of a random slice, its master, and the replica of that; the cluster is whole before.

        While slots have no master, all others are served or none, as the cluster is set: either is.
        """
        await self._whole()
        are_all_needed = self.site.random.choice(("yes", "no"))
        for node in self.cluster.nodes:
            await node.run("CONFIG SET", "cluster-require-full-coverage", are_all_needed)
        slot = self.site.random.choice(self._slots())
        master = await self.cluster.master_of(slot)
        self.site.report.tell(f"{master.place} is struck; full coverage: {are_all_needed}")
        return slot, master, await self.cluster.replica_of(master)

    async def _move(self, slot: int, to: Node) -> None:
        """Move a slot. Where an election that nobody asked for comes in between, it stays with whoever has it."""
        try:
            await self._move_to(slot, to)
        except ResponseError as error:
            for node in self.cluster.nodes:
                with suppress(RedisError):
                    await node.run("CLUSTER SETSLOT", slot, "STABLE")
            raise Hindrance(f"slot {slot} could not be moved: {error}") from error

    async def _move_to(self, slot: int, to: Node) -> None:
        """Move a slot; nodes that have no part in it hear of it later."""
        source = await self.cluster.begin_moving(slot, to)
        await self.site.pause(0.3)
        await self.cluster.move_keys(slot, source, to, self._some_keys())
        await self.site.pause(1)
        await self.cluster.move_keys(slot, source, to)
        for node in (to, source):
            await node.run("CLUSTER SETSLOT", slot, "NODE", to.id)
        self.site.report.tell(f"slot {slot} has moved from {source.place} to {to.place}")

    def _some_keys(self) -> Callable[[str], bool]:
        """Which keys go first: any half, or those of one kind, so that others of the same session are left behind."""
        kind, salt = self.site.random.choice((*KINDS, "")), self.site.random.randrange(1000)
        return lambda key: kind in key if kind else bool(crc32(f"{salt} {key}".encode()) % 2)

    async def _elected(self, replica: Node) -> None:
        await self.site.until(replica.is_master, "a replica is elected", ELECTION_SECONDS)

    async def _back(self, node: Node) -> None:
        await self.cluster.restart(node)

    async def _whole(self) -> None:
        await self.site.until(self.cluster.healthy, "the cluster is whole", WHOLE_SECONDS)

    def _slots(self) -> list[int]:
        return [slot_of(keys.tag) for keys in self.site.service.installation.view.keys]
