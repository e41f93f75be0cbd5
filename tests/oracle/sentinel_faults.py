"""Faults of a master that sentinels watch: it dies, freezes, is replaced, or takes itself for the master still."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial

from readside.demo.processes import LOOPBACK
from tests.oracle.site import Fault, Site
from tests.support.redis_asking import fields, pairs
from tests.support.redis_clusters import Node
from tests.support.sentinels import DOWN_AFTER_MS, SERVICE, SentinelSet

DOWN_AFTER_SECONDS = DOWN_AFTER_MS / 1000
WHOLE_SECONDS = 90
UNHEARD_SECONDS = 0.4
"""For so long replicas miss what their master is told, before it dies: shorter than sentinels need to miss them."""


@dataclass
class SentinelFaults:
    """What can be done to the master, its replicas and the sentinels."""

    site: Site
    watched: SentinelSet

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("master killed, a replica promoted", self.kill, 32, 2),
            Fault("master killed, back before a failover, empty", self.lose_everything, 16, 1),
            Fault("failover by hand", self.fail_over, 32, 1),
            Fault("failover that loses the last writes", self.lose_writes, 32, 2),
            Fault("master paused, a replica promoted", self.pause, 24, 2.5),
            Fault("master paused shortly", self.pause_shortly, 12),
            Fault("two masters", self.two_masters, 24, 3),
            Fault("sentinels paused", self.pause_sentinels, 12, 1.5),
            Fault("sentinels paused, master killed and back, empty", self.blind, 16, 2),
        ]

    async def kill(self) -> None:
        """The outage is over when another is promoted."""
        master = await self._struck()
        await master.server.kill()
        self.site.mends.append(partial(self._follow, master))
        await self._promoted(master)

    async def lose_everything(self) -> None:
        """A master without a dump that restarts at once is one still; its replicas follow it into the void."""
        master = await self._struck()
        await master.server.kill()
        await master.server.start()

    async def fail_over(self) -> None:
        """The old master hears that it is one no longer a moment later: READONLY, on connections that stay."""
        old = await self._struck()
        await self._ask_to_fail_over()
        await self._promoted(old)

    async def lose_writes(self) -> None:
        """The replicas hear nothing for a while, and then one of them is the master."""
        master = await self._struck()
        replicas = [node for node in self.watched.servers if node is not master]
        for replica in replicas:
            replica.pause()
        await master.run("CLIENT KILL", "TYPE", "replica")
        await self.site.pause(UNHEARD_SECONDS)
        await master.server.kill()
        self.site.mends.append(partial(self._follow, master))
        for replica in replicas:
            replica.resume()
        await self._promoted(master)

    async def pause(self) -> None:
        """Its connections stay; when it goes on it takes itself for the master, until it hears otherwise."""
        master = await self._struck()
        master.pause()
        try:
            await self._promoted(master)
            await self.site.pause(1)
        finally:
            master.resume()

    async def pause_shortly(self) -> None:
        """Too short for a failover."""
        master = await self._struck()
        master.pause()
        await self.site.pause(0.8 * DOWN_AFTER_SECONDS)
        master.resume()

    async def two_masters(self) -> None:
        """The old master takes writes again, from whoever has not asked the sentinels."""
        old = await self._struck()
        await self._ask_to_fail_over()
        await self._promoted(old)
        await old.run("REPLICAOF", "NO", "ONE")
        await self.site.pause(3)
        await self._follow(old)

    async def pause_sentinels(self) -> None:
        """Nobody watches; the master is where it was."""
        await self._whole()
        self._signal(signal.SIGSTOP)
        await self.site.pause(1.5)
        self._signal(signal.SIGCONT)

    async def blind(self) -> None:
        """Nobody can be asked while every connection is lost."""
        master = await self._struck()
        self._signal(signal.SIGSTOP)
        try:
            await master.server.kill()
            await self.site.pause(1)
            await master.server.start()
            await self.site.pause(1)
        finally:
            self._signal(signal.SIGCONT)

    async def _struck(self) -> Node:
        """The master; replicas follow it before."""
        await self._whole()
        master = await self.watched.master()
        self.site.report.tell(f"{master.place} is struck")
        return master

    async def _ask_to_fail_over(self) -> None:
        """Sentinels refuse while the last failover is not long ago."""

        async def asked() -> bool:
            await self.watched.ask(self.watched.sentinels[0], "SENTINEL FAILOVER", SERVICE)
            return True

        await self.site.until(asked, "the sentinels take the order", WHOLE_SECONDS)

    async def _promoted(self, old: Node) -> None:
        async def promoted() -> bool:
            master = await self.watched.master()
            return master is not old and await master.is_master()

        await self.site.until(promoted, "another master is promoted", WHOLE_SECONDS)

    async def _follow(self, node: Node) -> None:
        """Start a server where it is down, and have it follow the master."""
        await node.server.start()
        master = await self.watched.master()
        if master is not node:
            await node.run("REPLICAOF", LOOPBACK, master.server.port)

    async def _whole(self) -> None:
        """Return when there is one master, all follow it, and the sentinels agree."""
        await self.site.until(self._is_whole, "all servers follow one master", WHOLE_SECONDS)

    async def _is_whole(self) -> bool:
        master = await self.watched.master()
        for node in self.watched.servers:
            told = await node.info("replication")
            if node is master:
                if told["role"] != "master":
                    return False
            elif (told.get("master_port"), told.get("master_link_status")) != (str(master.server.port), "up"):
                return False
        for sentinel in self.watched.sentinels:
            told = fields(await self.watched.ask(sentinel, "SENTINEL MASTER", SERVICE))
            if int(told["port"]) != master.server.port or "down" in told["flags"]:
                return False
            if int(pairs(await self.watched.ask(sentinel, "INFO", "sentinel"))["sentinel_tilt"]):
                return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        for sentinel in self.watched.sentinels:
            os.kill(sentinel.pid, number)
