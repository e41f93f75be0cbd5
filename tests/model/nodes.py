"""The Redis servers of a simulated view: which slice is on which of them, and what each process takes to be so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, cast

from readmodel.redis.servers import RedisServers
from readmodel.view.keys import Keys
from readmodel.view.slices import SLOTS, Slices, slot_of
from readmodel.view.whole import WholeView
from tests.model.chance import Machine
from tests.model.simulated_redis import Client, Store

PREFIX = "readside"
LEARNED_SECONDS = 0.3
"""After so long, on average, a process knows of a slot that was moved."""
DEMOTED_SECONDS = 1.5
"""After so long a master that was failed over knows of it, and refuses what is left to another."""


class Nodes:
    """The stores of a view, and the slices on each. `spared` is one that no fault strikes, if there is such a one."""

    def __init__(self, stores: Sequence[Store], slices: int, chance: Random) -> None:
        self.stores = stores
        self.chance = chance
        self.slices = Slices(PREFIX, 0, slices)
        self.spared: Store | None = None
        self._places = {slot: stores[slot * len(stores) // SLOTS] for slot in map(_slot, self.slices.keys)}
        self._servers: list[Servers] = []

    def spare_one(self) -> None:
        """Have a store whose slices nothing befalls: its calls are not even lost."""
        self.spared = self.chance.choice(self.stores)
        self.spared.failing = self.spared.usually_failing = 0.0

    @property
    def struck(self) -> Store:
        """Draw one of the stores that faults strike."""
        return self.chance.choice([store for store in self.stores if store is not self.spared])

    def place(self, slot: int) -> Store:
        """Tell which store has a slot."""
        return self._places[slot]

    def store_of(self, keys: Keys) -> Store:
        """Tell which store has a slice."""
        return self._places[_slot(keys)]

    def name(self, store: Store) -> str:
        """Name a store."""
        return f"node {self.stores.index(store)}"

    def struck_slices(self) -> list[Keys]:
        """List the slices that faults strike."""
        return [keys for keys in self.slices.keys if self.store_of(keys) is not self.spared]

    def connect(self, machine: Machine) -> WholeView:
        """Open the view for a process."""
        servers = Servers(self, machine)
        self._servers.append(servers)
        return WholeView(cast("RedisServers", servers), PREFIX, self.slices.count)

    def move(self, keys: Keys, *, how: str) -> None:
        """Have another store take a slice's slot over.

        `data`: all its keys go with it. `none`: it begins empty. `copy`: it is a failover, to a copy of some moment;
        who does not know of it reads and writes the old master still.
        """
        old, slot = self.store_of(keys), _slot(keys)
        (new,) = (store for store in self.stores if store is not old)
        there = old.dump() if how == "data" else self.chance.choice(old.dumps or [{}]) if how == "copy" else {}
        own = keys.base.encode()
        new.replace({key: value for key, value in there.items() if key.startswith(own)}, own)
        new.gone.discard(own)
        self._places[slot] = new
        loop = asyncio.get_running_loop()
        loop.call_later(DEMOTED_SECONDS if how == "copy" else 0.0, self._leave, old, keys)
        for servers in self._servers:
            loop.call_later(self.chance.expovariate(1 / LEARNED_SECONDS), servers.learn, slot)

    def _leave(self, old: Store, keys: Keys) -> None:
        if self.store_of(keys) is not old:
            old.replace({}, keys.base.encode())
            old.leave(keys.base.encode())


class Servers:
    """The servers as one process knows them: the `RedisServers` of a simulation."""

    sharded = False
    database = 0
    name = "the simulated servers"

    def __init__(self, nodes: Nodes, machine: Machine) -> None:
        self._nodes = nodes
        self._machine = machine
        self._known: dict[int, Store] = {}
        self._clients: dict[int, Client] = {}

    def learn(self, slot: int) -> None:
        """Hear where a slot is now."""
        self._known[slot] = self._nodes.place(slot)

    def _place(self, slot: int) -> Store:
        if slot not in self._known:
            self.learn(slot)
        return self._known[slot]

    def client(self, slot: int) -> Any:
        """A client of the server that has a slot."""
        if slot not in self._clients:
            self._clients[slot] = Client(partial(self._place, slot), self._machine, partial(self.learn, slot))
        return self._clients[slot]

    def node(self, slot: int) -> str:
        """Name the server that a slot is taken to be on."""
        return self._nodes.name(self._place(slot))

    async def settle(self, slot: int) -> None:
        """Nothing is asked: whoever is in doubt knows at once."""

    def doubt(self, slot: int, _error: BaseException | None) -> None:
        """Learn where a slot is."""
        self.learn(slot)

    async def identity(self) -> str:
        """The name."""
        return self.name

    async def aclose(self) -> None:
        """There is nothing to close."""


def _slot(keys: Keys) -> int:
    return slot_of(keys.tag)
