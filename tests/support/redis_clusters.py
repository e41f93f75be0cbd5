"""A Redis Cluster for tests: masters and replicas on the loopback, made within seconds, and what may happen to them.

The nodes' bus goes through proxies of ours where a node is to be cut off from the others: each node has an address of
its own, by which a proxy knows who calls.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import free_port
from tests.support.redis_asking import REPLY_SECONDS, Command, asked, pairs
from tests.support.redis_bus import Bus
from tests.support.servers import program_from_environment, server_directory
from tests.support.waiting import eventually

SLOTS = 16_384
NODE_TIMEOUT_MS = 1_000
"""So long a master is silent before the others call it failed; an election follows within as long again."""

FAILOVER_SECONDS = 6.0
"""Redis gives up a failover by hand after five seconds, silently; then it is asked for anew."""


@dataclass(eq=False)
class Node:
    """One node; `heard_at` is the port of its bus, or of the proxy before it."""

    server: EmbeddedRedis
    host: str
    bus_port: int
    heard_at: int
    id: str = ""

    @property
    def place(self) -> str:
        """Its address."""
        return f"{self.host}:{self.server.port}"

    def client(self) -> Redis:
        """A client of it, as its administrator; to be closed."""
        return Redis(
            host=self.host,
            port=self.server.port,
            password=self.server.password,
            socket_timeout=REPLY_SECONDS,
            driver_info=None,  # to find out redis-py's version takes a millisecond
        )

    async def run(self, *words: object) -> Any:
        """Send it one command, of which the first words may be one string; its reply, strings as bytes."""
        (reply,) = await self.replies([*str(words[0]).split(), *words[1:]])
        return reply

    async def replies(self, *commands: Command) -> list[Any]:
        """Send it commands, all at once."""
        return await asked(self.host, self.server.port, self.server.password, *commands)

    async def info(self, section: str) -> dict[str, str]:
        """What it says about itself."""
        return pairs(await self.run("INFO", section))

    async def is_master(self) -> bool:
        """Whether it takes writes."""
        with suppress(RedisError):
            return (await self.info("replication"))["role"] == "master"
        return False

    def pause(self) -> None:
        """Stop its process; its connections stay."""
        os.kill(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let its process go on."""
        os.kill(self.server.pid, signal.SIGCONT)


@dataclass(eq=False)
class RedisCluster:
    """The nodes; at first the earlier half are masters, each with a replica in the later half."""

    directory: Path
    nodes: list[Node] = field(default_factory=list)
    options: Sequence[str] = ()
    cuttable: bool = False
    password: str = field(default_factory=lambda: secrets.token_hex(12))
    cut_off: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    _bus: Bus = field(default_factory=Bus)

    def url(self, *nodes: Node, login: str = "") -> str:
        """The URL that names these nodes, or all."""
        places = ",".join(node.place for node in nodes or self.nodes)
        return f"redis+cluster://{login or f':{self.password}'}@{places}"

    async def master_of(self, slot: int) -> Node:
        """The node that has a slot, as whoever knows of the latest election tells it."""
        told: list[tuple[int, str]] = []
        for node in self.nodes:
            if node.host in self.cut_off:
                continue
            with suppress(RedisError):
                info, slots = await node.replies("CLUSTER INFO", "CLUSTER SLOTS")
                epoch = int(pairs(info)["cluster_current_epoch"])
                told += [(epoch, owner) for owner in [_owner(slots, slot)] if owner]
        latest = max(told)[1]
        return next(node for node in self.nodes if node.id == latest)

    async def other_master(self, than: Node) -> Node:
        """Another master."""
        masters = [node for node in self.nodes if node is not than and await node.is_master()]
        return masters[0]

    async def replica_of(self, master: Node) -> Node:
        """A replica of a master that follows it."""
        for node in self.nodes:
            with suppress(RedisError):
                told = await node.info("replication")
                if told["role"] == "slave" and int(told["master_port"]) == master.server.port:
                    return node
        raise AssertionError(f"{master.place} has no replica")

    async def fail_over(self, slot: int, *how: str) -> Node:
        """Promote the replica of a slot's master, by hand; gives the new master. `how`: FORCE or TAKEOVER."""
        old = await self.master_of(slot)
        new = await self.replica_of(old)
        loop = asyncio.get_running_loop()
        asked = -FAILOVER_SECONDS

        async def promoted() -> bool:
            nonlocal asked
            if loop.time() - asked > FAILOVER_SECONDS and not await new.is_master():
                asked = loop.time()
                await new.run("CLUSTER FAILOVER", *how)
            return await new.is_master()

        await eventually(promoted, "the replica is promoted")
        await eventually(partial(self._told_by_all, slot, new, [old] if how else []), "all know the new master")
        return new

    async def begin_moving(self, slot: int, to: Node) -> Node:
        """Have a slot migrate and move no key yet; gives the node that it comes from."""
        source = await self.master_of(slot)
        await to.run("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        await source.run("CLUSTER SETSLOT", slot, "MIGRATING", to.id)
        return source

    async def move_keys(self, slot: int, source: Node, to: Node, wanted: Callable[[str], bool] = bool) -> None:
        """Move the keys of a migrating slot."""
        keys = [key.decode() for key in await source.run("CLUSTER GETKEYSINSLOT", slot, 100_000)]
        moving = [key for key in keys if wanted(key)]
        if moving:
            login = ["AUTH", self.password]
            await source.run("MIGRATE", to.host, to.server.port, "", 0, 5000, "REPLACE", *login, "KEYS", *moving)

    async def end_moving(self, slot: int, source: Node, to: Node) -> None:
        """Assign the slot to its new node, and have all know it."""
        await self.move_keys(slot, source, to)
        for node in (to, source):
            await node.run("CLUSTER SETSLOT", slot, "NODE", to.id)
        await eventually(partial(self._told_by_all, slot, to, []), "all know where the slot is")

    async def move(self, slot: int, to: Node) -> None:
        """Move a slot with its keys."""
        source = await self.begin_moving(slot, to)
        await self.end_moving(slot, source, to)

    async def add(self) -> Node:
        """Add a master without slots."""
        node = await self._start()
        await self._meet()
        return node

    async def remove(self, node: Node) -> None:
        """Take a node away that has no slots."""
        self.nodes.remove(node)
        for other in self.nodes:
            await other.run("CLUSTER FORGET", node.id)
        await node.server.stop()

    async def kill(self, node: Node) -> None:
        """End a node as a crash would."""
        self.dead.add(node.place)
        await node.server.kill()

    async def restart(self, node: Node) -> None:
        """Start a node that was killed: empty, and as what its file says."""
        await node.server.start()
        self.dead.discard(node.place)

    def cut(self, node: Node) -> None:
        """Cut a node off from the others' bus, both ways; clients reach it as before."""
        assert self.cuttable
        self.cut_off.add(node.host)
        self._bus.cut(node.host)

    def mend(self) -> None:
        """Let all nodes reach each other again."""
        self.cut_off.clear()
        self._bus.mend()

    async def healthy(self) -> bool:
        """Whether all nodes take the cluster to be whole, and replicas follow."""
        for node in self.nodes:
            cluster, replication = map(pairs, await node.replies("CLUSTER INFO", "INFO replication"))
            if cluster["cluster_state"] != "ok" or int(cluster["cluster_known_nodes"]) != len(self.nodes):
                return False
            if replication["role"] == "slave" and replication["master_link_status"] != "up":
                return False
        return True

    async def heal(self) -> None:
        """Bring back who was killed, wait until all is well, and empty it."""
        for node in self.nodes:
            if node.place in self.dead:
                await self.restart(node)
        await eventually(self.healthy, "the cluster is whole")
        for node in self.nodes:
            (role, *_), *_ = await node.replies("ROLE", "CONFIG RESETSTAT", "SCRIPT FLUSH")
            if role == b"master":
                await node.run("FLUSHALL")

    async def _told_by_all(self, slot: int, owner: Node, but: Sequence[Node]) -> bool:
        for node in self.nodes:
            unasked = node in but or node.place in self.dead or node.host in self.cut_off
            if not unasked and _owner(await node.run("CLUSTER SLOTS"), slot) != owner.id:
                return False
        return True

    async def start(self, masters: int, replicas: int) -> None:
        """Start the nodes and make them a cluster."""
        for _ in range(masters + replicas):
            await self._start()
        for number, node in enumerate(self.nodes):
            await node.run("CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < masters:
                first, past = (SLOTS * place // masters for place in (number, number + 1))
                await node.run("CLUSTER ADDSLOTSRANGE", first, past - 1)
        await self._meet()
        for number, node in enumerate(self.nodes[masters:]):
            await node.run("CLUSTER REPLICATE", self.nodes[number % masters].id)
        await eventually(self.healthy, "the cluster is whole")

    async def _start(self) -> Node:
        number = len(self.nodes)
        host = f"127.0.1.{number + 1}" if self.cuttable else "127.0.0.1"
        bus_port = free_port()
        heard_at = await self._bus.proxy(host, bus_port) if self.cuttable else bus_port
        options = [
            *("--bind", host, "--bind-source-addr", host, "--cluster-enabled", "yes"),
            *("--cluster-port", str(bus_port), "--cluster-announce-bus-port", str(heard_at)),
            *("--cluster-announce-ip", host),
            *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0"),
            *("--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"),
            *("--masterauth", self.password, *self.options),
        ]
        program = program_from_environment("READSIDE_TEST_REDIS_SERVER")
        server = EmbeddedRedis(self.directory / str(secrets.token_hex(3)), options=options, program=program)
        server.password = self.password
        await server.start()
        node = Node(server, host, bus_port, heard_at)
        node.id = (await node.run("CLUSTER MYID")).decode()
        self.nodes.append(node)
        return node

    async def _meet(self) -> None:
        """Introduce each to each: word of mouth takes seconds."""
        for node in self.nodes:
            others = (other for other in self.nodes if other is not node)
            await node.replies(
                *(("CLUSTER", "MEET", other.host, other.server.port, other.heard_at) for other in others)
            )
        await eventually(self._all_met, "all nodes know each other")

    async def _all_met(self) -> bool:
        for node in self.nodes:
            nodes, info = await node.replies("CLUSTER NODES", "CLUSTER INFO")
            flags = [line.split()[2] for line in nodes.splitlines()]
            if len(flags) != len(self.nodes) or any(b"handshake" in each for each in flags):
                return False
            if pairs(info)["cluster_state"] != "ok":
                return False
        return True

    async def stop(self) -> None:
        """End all nodes, paused ones too."""
        for node in self.nodes:
            await node.server.kill()
        await self._bus.stop()


def _owner(slots: list[Any], slot: int) -> str | None:
    """The id of a slot's master, as a node's CLUSTER SLOTS tells it."""
    for first, last, (_, _, master, *_), *_ in slots:
        if first <= slot <= last:
            return str(master.decode())
    return None


@contextmanager
def running_cluster() -> Iterator[RedisCluster]:
    """A cluster of three masters and three replicas for as long as the block lasts, for synchronous callers."""
    with server_directory() as directory:
        cluster = RedisCluster(directory)
        try:
            asyncio.run(cluster.start(3, 3))
            yield cluster
        finally:
            asyncio.run(cluster.stop())


@asynccontextmanager
async def redis_cluster(
    masters: int = 3, replicas: int = 3, *options: str, cuttable: bool = False
) -> AsyncIterator[RedisCluster]:
    """A cluster for as long as the block lasts."""
    with server_directory() as directory:
        cluster = RedisCluster(directory, options=options, cuttable=cuttable)
        try:
            await cluster.start(masters, replicas)
            yield cluster
        finally:
            await cluster.stop()
