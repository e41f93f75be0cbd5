"""Every measurement by its name, in the order of the table."""

from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType

from bench.rows import (
    cold,
    commit_beside_base,
    commit_to_http,
    commit_to_redis,
    cost_by_events,
    cost_by_hot,
    dashboards,
    empty_poll,
    letters,
    memory,
    no_projector,
    page,
    page_from_redis,
    rebuild,
    writers,
)
from bench.stack import Servers
from bench.table import Measurement

_MODULES: tuple[ModuleType, ...] = (
    empty_poll,
    page,
    page_from_redis,
    dashboards,
    cost_by_events,
    cost_by_hot,
    commit_to_http,
    commit_beside_base,
    commit_to_redis,
    rebuild,
    memory,
    writers,
    letters,
    no_projector,
    cold,
)
MEASUREMENTS: dict[str, Callable[[Servers], Awaitable[Measurement]]] = {
    module.NAME: module.measure for module in _MODULES
}
DESCRIPTIONS = {module.NAME: (module.__doc__ or "").splitlines()[0] for module in _MODULES}
WITHOUT_CROWDS = frozenset(
    module.NAME for module in (commit_to_http, commit_beside_base, commit_to_redis, writers, letters, no_projector)
)
"""No crowd of clients polls in these: pgbench writes, and at most one client polls."""


def chosen(names: Sequence[str], base: str | None) -> list[str]:
    """Give what to measure: the names, or everything; what needs an earlier version, only where one is given."""
    return list(names) or [name for name in MEASUREMENTS if base or name != commit_beside_base.NAME]
