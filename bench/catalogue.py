"""Every measurement by its name, in the order of the table."""

from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType

from bench.rows import (
    attacks,
    beats,
    cold,
    cold_storm,
    commit_beside_base,
    commit_to_http,
    commit_to_redis,
    cost_by_events,
    cost_by_hot,
    dashboards,
    deep_pages,
    demo_start,
    empty_poll,
    fairness,
    gzip_page,
    handed_over,
    held_polls,
    hot_path,
    idle_connections,
    letters,
    memory,
    no_projector,
    one_slice_beside_base,
    page,
    page_from_redis,
    partitions,
    paths_beside_base,
    rebuild,
    slice_killed,
    slices,
    writers,
)
from bench.stack import Servers
from bench.table import Measurement

_MODULES: tuple[ModuleType, ...] = (
    empty_poll,
    page,
    hot_path,
    handed_over,
    page_from_redis,
    paths_beside_base,
    gzip_page,
    dashboards,
    demo_start,
    attacks,
    fairness,
    idle_connections,
    held_polls,
    cost_by_events,
    cost_by_hot,
    commit_to_http,
    commit_beside_base,
    commit_to_redis,
    rebuild,
    memory,
    slices,
    beats,
    one_slice_beside_base,
    writers,
    partitions,
    letters,
    no_projector,
    slice_killed,
    cold,
    cold_storm,
    deep_pages,
)
MEASUREMENTS: dict[str, Callable[[Servers], Awaitable[Measurement]]] = {
    module.NAME: module.measure for module in _MODULES
}
DESCRIPTIONS = {module.NAME: (module.__doc__ or "").splitlines()[0] for module in _MODULES}
WITHOUT_CROWDS = frozenset(
    module.NAME
    for module in (
        beats,
        one_slice_beside_base,
        commit_to_http,
        commit_beside_base,
        commit_to_redis,
        writers,
        partitions,
        letters,
        no_projector,
        slice_killed,
        attacks,
        idle_connections,
        held_polls,
        hot_path,
        handed_over,
        deep_pages,
    )
)
"""No crowd of clients polls in these: pgbench writes, raw connections do harm, or there is no socket at all."""
BESIDE_BASE = frozenset(module.NAME for module in (commit_beside_base, paths_beside_base, one_slice_beside_base))
"""These need an earlier version."""


def chosen(names: Sequence[str], base: str | None) -> list[str]:
    """What to measure: the names, or everything; what needs an earlier version, only where one is given."""
    return list(names) or [name for name in MEASUREMENTS if base or name not in BESIDE_BASE]
