"""Hearing what changed in the view, for ever: feeds the response cache."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from readmodel.errors import ServiceError
from readmodel.values.messages import Change, decode_change
from readmodel.view.subscription import Lost

_log = structlog.get_logger(__name__)

Subscribe = Callable[[Mapping[str, int], Lost], AsyncGenerator[tuple[str, bytes | None], None]]
"""Hears channels, given with their hash slots: `heard_all`."""


@dataclass(slots=True)
class _Silence:
    """Slices that ceased to be heard together; the log knows of it, or else this is the beginning."""

    channels: set[str]
    slices: int
    is_told: bool


class Subscription:
    """Hands on the messages of each slice, whose channels stand in order, with their hash slots.

    The log says once of how many slices they are not heard, and once when they are.

    What was missed meanwhile needs no care here: the numbers of the messages tell the cache.
    """

    def __init__(
        self, channels: Mapping[str, int], subscribe: Subscribe, hear: Callable[[Change, float, int], None]
    ) -> None:
        self._channels = channels
        self._index_of = {channel: index for index, channel in enumerate(channels)}
        self._subscribe = subscribe
        self._hear = hear
        self._silences = [_Silence(set(channels), len(channels), is_told=False)]

    async def run(self) -> None:
        """Listen until cancelled."""
        async with aclosing(self._subscribe(self._channels, self._lost)) as messages:
            async for channel, data in messages:
                if data is None:
                    self._is_heard(channel)
                elif (change := decode_change(data)) is not None:
                    self._hear(change, time.monotonic(), self._index_of[channel])

    def _is_heard(self, channel: str) -> None:
        for silence in self._silences:
            silence.channels.discard(channel)
            if not silence.channels:
                _log.info("changes are heard", **self._count(silence.slices))
        self._silences = [silence for silence in self._silences if silence.channels]

    def _lost(self, channels: Collection[str], error: ServiceError) -> None:
        told = {channel for silence in self._silences if silence.is_told for channel in silence.channels}
        lost = set(channels) - told
        if lost:
            _log.warning("changes are not heard", error=str(error), **self._count(len(lost)))
            for silence in self._silences:
                silence.slices -= len(silence.channels & lost)
                silence.channels -= lost
            self._silences = [silence for silence in self._silences if silence.channels]
            self._silences.append(_Silence(lost, len(lost), is_told=True))

    def _count(self, slices: int) -> dict[str, int]:
        return {} if len(self._channels) == 1 else {"slices": slices}
