"""Every measurement by its name, in the order of the table."""

from collections.abc import Awaitable, Callable
from types import ModuleType

from bench.rows import (
    beside_postgres,
    cold,
    commit_to_http,
    commit_to_redis,
    cost_by_events,
    cost_by_hot,
    dashboards,
    empty_poll,
    memory,
    micro_cache,
    page,
    page_from_redis,
    rebuild,
    writers,
)
from bench.stack import Servers
from bench.table import Measured

_MODULES: tuple[ModuleType, ...] = (
    empty_poll,
    page,
    page_from_redis,
    beside_postgres,
    micro_cache,
    dashboards,
    cost_by_events,
    cost_by_hot,
    commit_to_http,
    commit_to_redis,
    rebuild,
    memory,
    writers,
    cold,
)
MEASUREMENTS: dict[str, Callable[[Servers], Awaitable[Measured]]] = {module.NAME: module.measure for module in _MODULES}
DESCRIPTIONS = {module.NAME: (module.__doc__ or "").splitlines()[0] for module in _MODULES}
