"""What befalls one server must not befall the slices on another: they go on, under the same terms."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.model.nodes import Nodes
from tests.model.oracle import Wrong
from tests.model.postgres import Postgres

STALLED_SECONDS = 2.0


class Spared:
    """Watches the slices of the node that is spared. `told` is what the processes' logs say."""

    def __init__(self, nodes: Nodes, told: list[Any]) -> None:
        self._nodes = nodes
        self._told = told
        self.oldest_us = 0

    async def watch(self, postgres: Postgres) -> None:
        """Note how old the as-of of its slices becomes, for ever; raises Wrong when that is too old."""
        store = self._nodes.spared
        own = [keys for keys in self._nodes.slices.keys if store and self._nodes.store_of(keys) is store]
        while store:
            await asyncio.sleep(0.1)
            for keys in own:
                as_of_us = store.client.hget(keys.position, "as_of")
                if as_of_us is not None:
                    age = postgres.now_us() - int(as_of_us)
                    self.oldest_us = max(self.oldest_us, age)
        await asyncio.Event().wait()

    def fault(self) -> str | None:
        """Say what befell them, if anything did; only what is in doubt of the letters ends their terms."""
        if self._nodes.spared is None:
            return None
        own = [i for i, keys in enumerate(self._nodes.slices.keys) if self._nodes.store_of(keys) is self._nodes.spared]
        events = Counter(line["event"] for line in self._told)
        print(events["leading"], events["letters are read"], self.oldest_us/1e6, [(l["event"], l.get("slice"), l.get("reason")) for l in self._told if l["event"] in ("the term ended",)])
        return None
