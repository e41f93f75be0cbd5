"""The conditions of a simulation: the project's bounds made so small that a few sessions reach them."""

import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

from readmodel.runtime.backoff import delays
from readmodel.view.type_index import ENTRY_BYTES

_BOUNDS = {
    "projector.tail.letterbox.LEASE_SECONDS": 0.5,
    "projector.tail.letterbox.MAX_RENDERED": 3,
    "projector.tail.letterbox.MAX_SESSIONS": 3,
    "projector.tail.letterbox.MAX_IDS": 14,
    "projector.tail.letterbox.MAX_IDS_OF_ONE": 5,
    "projector.tail.letterbox.RENDERED_BYTES": 1_000,
    "projector.tail.reader.SETTLING_SECONDS": 0.1,
    "projector.tail.connection.FROZEN_SECONDS": 0.0,
    "projector.core.pace.BUSY_LETTERS_PER_SECOND": 60.0,
    "projector.core.pace.QUIET_LETTERS_PER_SECOND": 30.0,
    "projector.core.pace.WINDOW_SECONDS": 0.1,
    "projector.core.pace.CONTENDED_SECONDS": 0.3,
    "projector.core.pace.MAX_CONTENDED_SECONDS": 0.6,
    "projector.core.household.TURN_BYTES": 200,
    "projector.core.operations.MAX_BATCH_BYTES": 2_500,
    "projector.core.operations.MAX_NAMED": 1,
    "projector.catch_up.SESSIONS_PER_QUERY": 2,
    "projector.view.committer.MAX_NAMED": 2,
    "projector.drift.EVENTS_A_ROUND": 10,
    "projector.served_check.EVENTS_A_ROUND": 10,
    "projector.core.backlog.MAX_WAITING": 4,
    "projector.feed.BEHIND_SECONDS": 0.01,
    "projector.core.sessions.NEVER_EVICTED_SECONDS": 0.3,
    "projector.core.decide.MAX_CREATED": 2,
    "projector.step.MAX_PUTS": 1,
    "projector.core.sessions.MAX_ARRIVED": 6,
    "projector.loads.loads.WORKERS": 2,
    "projector.core.new_events.BYTES_OF_ONE_SESSION": 2_500,
    "projector.enumeration.IN_HAND": 2,
    # Time passes for nobody in these: what is known of another database's clock or of a store that was away.
    "projector.view.writer.STILL_MOVING_SECONDS": 0.0,
    "readmodel.view.subscription.PLACES_SECONDS": 0.1,
    "readmodel.view.type_index._CHUNK_BYTES": 2 * ENTRY_BYTES,
    "query_api.sources.view_reads.LONG_BYTES": 3_000,
    "query_api.sources.circuit.RETRY_SECONDS": 0.03,
    "query_api.sources.fallback.MISSING_SECONDS": 0.2,
    "query_api.sources.replicas.LOOK_SECONDS": 0.1,
    "query_api.sources.projector_requests.WARM_AGAIN_SECONDS": 0.2,
}

_SCRIPT_BOUNDS = {
    "local ENTRY, CHUNK = 24, 42": ("local ENTRY, CHUNK = 24, 2", ("apply", "read", "served", "stream")),
    "local NEWEST, NEWEST_BYTES = 16, 16384": ("local NEWEST, NEWEST_BYTES = 3, 900", ("read",)),
    "local STRIDE = 500": ("local STRIDE = 2", ("read", "stream")),
    "MOST_ARRIVALS, MOST_CHUNKS = 4000, 1000": ("MOST_ARRIVALS, MOST_CHUNKS = 9, 4", ("apply",)),
    "MOST_WALKED, MOST_WALKED_BYTES = 2000, 1048576": ("MOST_WALKED, MOST_WALKED_BYTES = 8, 4000", ("read",)),
}

_TIMED = (
    "projector.term.Committer",
    "projector.term.Sessions",
    "readside.api.Circuit",
    "readside.api.ColdPolls",
    "readside.api.Fallback",
    "readside.api.ProjectorRequests",
    "readside.replica_servers.Fallback",
    "readside.replica_servers.Replica",
)
"""What takes a clock, where it is built."""
_IMPATIENT = (
    "projector.leader",
    "projector.slice_leader",
    "projector.loads.loads",
    "projector.tail.doorbell",
    "readmodel.view.subscription",
)
"""Modules whose pauses between tries are cut short, so that more happens in a run."""


def _short_delays(first_seconds: float = 0.1, cap_seconds: float = 5.0) -> Iterator[float]:
    return delays(first_seconds / 5, cap_seconds / 10)


def small_script(name: str, text: str) -> str:
    """A script's text with bounds that few events reach."""
    for usual, (small, names) in _SCRIPT_BOUNDS.items():
        assert text.count(usual) == (name in names), f"{name}.lua has changed: say anew what is to be small"
        text = text.replace(usual, small)
    return text


@contextmanager
def small_bounds(open_tail: Any, connect: Any, chance: random.Random, clock: Callable[[], float]) -> Iterator[None]:
    """Replace bounds, clocks that were bound at import, jitter, and what connects to Postgres."""
    with ExitStack() as stack:
        for name, bound in _BOUNDS.items():
            stack.enter_context(mock.patch(name, bound))
        stack.enter_context(mock.patch("projector.leader.open_tail", open_tail))
        stack.enter_context(mock.patch("projector.tail.doorbell.connect", connect))
        for name in _TIMED:
            module, _, made = name.rpartition(".")
            built = partial(getattr(importlib.import_module(module), made), clock=clock)
            stack.enter_context(mock.patch(name, built))
        names = random.Random(chance.random())
        stack.enter_context(mock.patch("os.urandom", names.randbytes))  # what uuid4 is made of
        stack.enter_context(mock.patch("projector.tail.letterbox.secrets.randbelow", names.randrange))
        stack.enter_context(mock.patch("query_api.operators.lag_history.uniform", chance.uniform))
        stack.enter_context(mock.patch("readmodel.runtime.backoff.random", SimpleNamespace(Random=lambda: chance)))
        for name in _IMPATIENT:
            stack.enter_context(mock.patch(f"{name}.delays", _short_delays))
        yield
