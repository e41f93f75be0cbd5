"""What goes wrong: at random moments, one thing after another, and several at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from tests.model.connections import BellConnection, LeaderConnection
from tests.model.letter_tables import PLACES
from tests.model.standby import LEAST_LAG_SECONDS
from tests.model.transactions import States
from tests.model.writers import SESSIONS

if TYPE_CHECKING:
    from tests.model.world import World


DAMAGING = frozenset({"old_dump", "flushed", "key_lost", "position_lost", "index_lost", "staging_lost", "slot_moved"})
"""Faults that change the view behind the projector's back."""
OF_ONE_NODE = DAMAGING - {"slot_moved"} | {"subscription_lost", "subscription_paused", "memory_full", "node_away"}
"""Faults that strike one server and its slices, and nothing else."""


class Faults:
    """Strikes a world. `struck` counts how often each fault did."""

    def __init__(self, world: World, only: Collection[str] = ()) -> None:
        self._world = world
        self.struck: Counter[str] = Counter()
        self._kinds: dict[Callable[[], None], float] = {
            self.lead_lost: 10,
            self.bell_lost: 4,
            self.bells_forged: 2,
            self.tables_locked: 4,
            self.clock_set: 4,
            self.another_reader: 4,
            self.hidden_crash: 3,
            self.frozen: 3,
            self.old_dump: 9,
            self.flushed: 3,
            self.key_lost: 9,
            self.position_lost: 2,
            self.index_lost: 6,
            self.staging_lost: 5,
            self.subscription_lost: 12,
            self.subscription_paused: 3,
            self.triggers_off: 4,
            self.memory_full: 4,
            self.crash: 3,
            self.another_cluster: 1,
            self.killed: 3,
            self.outage: 3,
            self.node_away: 3,
        }
        if len(world.nodes.stores) > 1:
            self._kinds[self.slot_moved] = 8
        if world.standby:
            self._kinds[self.standby_lags] = 6
        if world.nodes.spared:
            self._kinds = {kind: weight for kind, weight in self._kinds.items() if kind.__name__ in OF_ONE_NODE}
        # Fewer kinds of faults, more of each: what breaks under one is not healed by the next.
        spared = DAMAGING if world.chance.random() < 0.2 else ()
        self._kinds = {
            kind: weight
            for kind, weight in self._kinds.items()
            if (kind.__name__ in only if only else kind.__name__ not in spared and world.chance.random() < 0.4)
        } or self._kinds

    async def strike(self) -> None:
        """Strike again and again."""
        chance = self._world.chance
        mean_seconds = chance.choice((0.2, 0.4, 0.8))
        while True:
            await asyncio.sleep(chance.expovariate(1 / mean_seconds))
            (fault,) = chance.choices(list(self._kinds), list(self._kinds.values()))
            self.struck[fault.__name__] += 1
            fault()
            if isinstance(self._restarting, str):
                name, self._restarting = self._restarting, None
                await self._world.start_projector(name)

    _restarting: str | None = None
    _ceased = False

    def cease(self) -> None:
        """Put everything right again."""
        world = self._world
        self._ceased, world.postgres.failing = True, 0.0
        for store in world.nodes.stores:
            store.full, store.failing = False, 0.0
        self._tables_free()
        if world.standby:
            world.standby.lag_seconds = LEAST_LAG_SECONDS
        for machine in world.machines.values():
            machine.frozen_until = 0.0

    def _for_a_while(self, undo: Callable[[], None], mean_seconds: float) -> None:
        asyncio.get_running_loop().call_later(self._world.chance.expovariate(1 / mean_seconds), undo)

    def lead_lost(self) -> None:
        """The leader's connection ends."""
        connections = self._world.postgres.connections
        leading = [one for one in connections if isinstance(one, LeaderConnection) and one.keys]
        self._world.postgres.end(leading[0] if leading else None)

    def bell_lost(self) -> None:
        """Rings are lost on their way, and at times the connection that hears them."""
        chance = self._world.chance
        for connection in [one for one in self._world.postgres.connections if isinstance(one, BellConnection)]:
            connection.cut()
            if chance.random() < 0.5:
                self._world.postgres.end(connection)

    def bells_forged(self) -> None:
        """Somebody rings who wrote nothing."""
        for _ in range(self._world.chance.choice((1, 5, 50))):
            self._world.postgres.notify()

    def tables_locked(self) -> None:
        """A dump reads the letters' tables: none can be emptied."""
        for table in self._world.postgres.letterbox.tables:
            table.is_read = True
        self._for_a_while(self._tables_free, 0.8)

    def _tables_free(self) -> None:
        for table in self._world.postgres.letterbox.tables:
            table.is_read = False

    def clock_set(self) -> None:
        """The server's clock leaps, as leases see it."""
        self._world.postgres.letterbox.clock_ahead_ms = self._world.chance.choice((-3_000, -400, 0, 400, 3_000))

    def another_reader(self) -> None:
        """A projector of another deployment, or one that was thought dead, reads these letters, and empties."""
        self._world.background.append(asyncio.create_task(self._read_too()))

    async def _read_too(self) -> None:
        postgres, chance = self._world.postgres, self._world.chance
        letterbox, me = postgres.letterbox, chance.getrandbits(60)
        letterbox.reader = me
        presence = letterbox.renew("", me, chance.choice(PLACES), 0, 500) or 0
        for _ in range(chance.choice((1, 20, 100))):
            await asyncio.sleep(chance.expovariate(1 / 0.004))
            snapshot = postgres.snapshot()
            for place in PLACES:
                if place != (presence >> 1) & 3:
                    await letterbox.empty(place, me, snapshot)

    def frozen(self) -> None:
        """A process does nothing for a while."""
        name = self._world.chance.choice(list(self._world.machines))
        self._world.machines[name].freeze(self._world.chance.expovariate(1 / 0.6))

    def killed(self) -> None:
        """A projector dies, and is started again."""
        self._restarting = self._world.chance.choice(list(self._world.projectors))

    def old_dump(self) -> None:
        """Redis comes back as it was: a restart that everybody sees, or a failover that nobody does."""
        chance, store = self._world.chance, self._world.nodes.struck
        if store.dumps:
            store.restore(chance.choice(store.dumps))
            if chance.random() < 0.6:
                store.client.script_flush()
                for subscription in list(store.subscriptions):
                    subscription.lose(seen=chance.random() < 0.5)

    def flushed(self) -> None:
        """FLUSHALL."""
        self._world.nodes.struck.restore({})

    def slot_moved(self) -> None:
        """A slice's slot goes to another server: with its keys, without them, or as a failover to an older copy."""
        nodes, chance = self._world.nodes, self._world.chance
        nodes.move(chance.choice(nodes.slices.keys), how=chance.choice(("data", "none", "copy")))

    def key_lost(self) -> None:
        """A key of a session, or all of them, are evicted or expire."""
        nodes, chance = self._world.nodes, self._world.chance
        struck = nodes.struck_slices()
        keys = chance.choice([(sid, keys) for sid in SESSIONS if (keys := nodes.slices.of(sid)) in struck])
        kinds = self._world.chance.choice(("s", "e", "i", "sei"))
        session_id, own = keys
        nodes.store_of(own).client.delete(*(f"{own.base}{kind}:{session_id}" for kind in kinds))

    def position_lost(self) -> None:
        """The position is evicted."""
        own = self._world.chance.choice(self._world.nodes.struck_slices())
        self._world.nodes.store_of(own).client.delete(own.position)

    def index_lost(self) -> None:
        """The list of hot sessions is evicted."""
        own = self._world.chance.choice(self._world.nodes.struck_slices())
        self._world.nodes.store_of(own).client.delete(own.hot)

    def staging_lost(self) -> None:
        """A load's staging keys expire, or lose a member as an older dump would."""
        chance, store = self._world.chance, self._world.nodes.struck
        staged = [key for key in store.names() if b":stage:" in key]
        if staged:
            key = chance.choice(staged)
            if chance.random() < 0.5:
                store.client.delete(key)
            elif store.client.type(key) == b"zset":
                store.client.zpopmin(key)
            else:
                store.client.hincrby(key.decode(), "#", -1)

    def subscription_lost(self) -> None:
        """One connection that hears messages is lost; its client may be told, or be subscribed again silently."""
        chance, store = self._world.chance, self._world.nodes.struck
        if store.subscriptions:
            chance.choice(store.subscriptions).lose(seen=chance.random() < 0.5)

    def subscription_paused(self) -> None:
        """What one connection hears comes late, all at once."""
        chance, store = self._world.chance, self._world.nodes.struck
        if store.subscriptions:
            chance.choice(store.subscriptions).pause(chance.expovariate(1 / 0.5))

    def triggers_off(self) -> None:
        """The triggers are disabled, and enabled again."""
        self._world.background.append(asyncio.create_task(self._toggle_triggers()))

    async def _toggle_triggers(self) -> None:
        for enabled in (False, True):
            while not self._world.postgres.set_triggers(enabled=enabled):  # noqa: ASYNC110 (writers hold locks)
                await asyncio.sleep(0.002)
            await asyncio.sleep(self._world.chance.expovariate(1 / 0.06))

    def memory_full(self) -> None:
        """Redis takes no new data."""
        store = self._world.nodes.struck
        store.full = True
        self._for_a_while(lambda: setattr(store, "full", False), 0.2)

    def outage(self) -> None:
        """No store answers well."""
        self._world.postgres.failing = 0.5
        for store in self._world.nodes.stores:
            store.failing = 0.5
        self._for_a_while(self._no_outage, 0.15)

    def _no_outage(self) -> None:
        if not self._ceased:
            self._world.postgres.failing = 0.004
            for store in self._world.nodes.stores:
                store.failing = store.usually_failing

    def standby_lags(self) -> None:
        """A hot standby replays later than it did, or has caught up."""
        lags = (LEAST_LAG_SECONDS, LEAST_LAG_SECONDS, 0.2, 0.5, 3.0)
        if self._world.standby:
            self._world.standby.lag_seconds = self._world.chance.choice(lags)

    def node_away(self) -> None:
        """A Redis does not answer for a while, though it may do what it is asked."""
        store = self._world.nodes.struck
        store.failing = 1.0
        mean_seconds = 1.5 if self._world.nodes.spared else 0.5
        self._for_a_while(
            lambda: setattr(store, "failing", 0.0 if self._ceased else store.usually_failing), mean_seconds
        )

    def crash(self, *, hidden: bool = False) -> None:
        """Postgres restarts; what was committed asynchronously just before is gone."""
        postgres, lost = self._world.postgres, States()
        for session_id in SESSIONS:
            history = postgres.history.get(session_id, ())
            if (
                len(history) > 1
                and history[-1].since_us > postgres.now_us() - 40_000
                and postgres.chance.random() < 0.5
            ):
                lost[session_id] = history[-2].state
        postgres.crash(lost, hidden=hidden)

    def hidden_crash(self) -> None:
        """The same behind a pooler, which keeps our connections."""
        self.crash(hidden=True)

    def another_cluster(self) -> None:
        """The database is restored from a backup, as another cluster behind the same address."""
        postgres, chance = self._world.postgres, self._world.chance
        backup = {sid: chance.choice(history).state for sid, history in postgres.history.items()}
        postgres.cluster, postgres.restored_us = postgres.cluster + 1, postgres.now_us()
        postgres.forget_prepared()
        postgres.crash(backup)
