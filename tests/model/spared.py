"""What befalls one server must not befall the slices on another: they go on, under the same terms."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from readmodel.view.keys import Keys
from tests.model.nodes import Nodes
from tests.model.postgres import Postgres

STALLED_SECONDS = 2.0
"""A slice that nothing befalls is never older: a beat is due after 0.1 s, and of the calls it takes a few are slow."""
POSITIONS_SECONDS = 0.1


class Spared:
    """Watches the slices of the node that is spared. `told` is what the processes' logs say."""

    def __init__(self, nodes: Nodes, told: list[Any]) -> None:
        self._nodes = nodes
        self._told = told
        self._oldest_us = 0

    async def watch(self, postgres: Postgres) -> None:
        """Note how old the as-of of its slices becomes, for ever."""
        store = self._nodes.spared
        while store:
            await asyncio.sleep(POSITIONS_SECONDS)
            for keys in self._slices().values():
                as_of_us: Any = store.client.hget(keys.position, "as_of")
                if as_of_us is not None:
                    self._oldest_us = max(self._oldest_us, postgres.now_us() - int(as_of_us))
        await asyncio.Event().wait()

    def fault(self) -> str | None:
        """Say what befell them, if anything did. What is in doubt of the letters ends the terms of all."""
        if self._nodes.spared is None:
            return None
        ends = [str(line["reason"]) for line in self._told if line["event"] == "the term ended" and "slice" not in line]
        feeds, of_a_view = self._count("letters are read"), any(why.startswith("the view is at") for why in ends)
        if self._count("leading") > 1 or feeds > 1 + len(ends) or of_a_view:
            return f"the lead or all terms were lost, though one node was sound: {self._reasons()}"
        if any(self._count("a term began", index) > feeds + self._too_slow(index) for index in self._slices()):
            return f"a slice whose node was sound began a new term: {self._reasons()}"
        if feeds == 1 and self._oldest_us > STALLED_SECONDS * 1_000_000:
            return f"a slice whose node was sound stalled for {self._oldest_us / 1_000_000} s: {self._reasons()}"
        return None

    def counts(self) -> Counter[str]:
        """Tell how often a slice began anew while others went on, and for which reason."""
        ended = [str(line["reason"]) for line in self._told if line["event"] == "the term ended" and "slice" in line]
        away = self._count("a slice is away")
        waited = sum(reason.startswith("more than") for reason in ended)
        return Counter({"a slice began anew": len(ended), "a slice was away": away, "too much waited": waited})

    def _slices(self) -> dict[int, Keys]:
        nodes = self._nodes
        return {index: keys for index, keys in enumerate(nodes.slices.keys) if nodes.store_of(keys) is nodes.spared}

    def _count(self, event: str, *of_slice: int | None) -> int:
        """Count what the logs say, of one slice if one is given (None: of no slice)."""
        return sum(line["event"] == event and (not of_slice or line.get("slice") in of_slice) for line in self._told)

    def _too_slow(self, index: int) -> int:
        """Count a slice's terms that ended because too much waited: the bound is small, and a sound Redis slow."""
        ended = [line for line in self._told if line["event"] == "the term ended" and line.get("slice") == index]
        return sum(str(line["reason"]).startswith("more than") for line in ended)

    def _reasons(self) -> list[str]:
        return [str(line["reason"]) for line in self._told if "reason" in line]
