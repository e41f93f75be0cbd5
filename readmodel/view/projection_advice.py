"""What a projection's state means to who uses it: what polls get, and what to do. For the CLI and the console alike."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from readmodel.view.projection import FOREIGN, Projection, slices_of

QUEUE_WORRIES = 0.1
"""A notification queue that is so full has a listener which does not read; Postgres holds 8 GB by default."""


def users_see(projection: Projection, max_staleness_seconds: float) -> str:
    """Say what polls get in this state: never a wrong answer, at times an old or a slow one."""
    bound = f"{max_staleness_seconds:g} s"
    if _unreachable(projection):
        return (
            f"API processes that cannot reach Redis either answer from memory until that is {bound} old, then from "
            "Postgres: right answers, slower; 503 under load."
        )
    if projection.status == "live":
        return f"Hot sessions are answered from memory or Redis, {projection.lag_ms} ms behind; others from Postgres."
    if any(one.status == "live" for one in projection.slices):
        return _of_some(projection, bound)
    if projection.lag_ms is None or str(projection.reason).startswith(FOREIGN):
        return _without_as_of(projection, bound)
    return _with_as_of(projection, projection.lag_ms, max_staleness_seconds)


def _of_some(projection: Projection, bound: str) -> str:
    """Say the same where some slices are live and others are not."""
    live = sum(one.status == "live" for one in projection.slices)
    others = "the other" if len(projection.slices) - live == 1 else "the others"
    return (
        f"Sessions of {'1 slice' if live == 1 else f'{live} slices'} are answered as ever. Those of {others} are "
        f"answered from memory or Redis until that is {bound} old, then from Postgres: right answers, slower; "
        "503 under load."
    )


def _with_as_of(projection: Projection, lag_ms: int, max_staleness_seconds: float) -> str:
    """Say the same where the view is not live, and was."""
    bound, is_fresh = f"{max_staleness_seconds:g} s", lag_ms <= max_staleness_seconds * 1000
    if _misses_postgres(projection):
        age = "" if is_fresh else f"; that is older than {bound}"
        return (
            f"Hot sessions are answered as of {projection.as_of}{age}. Where the API does not reach Postgres either, "
            "they stay so, and other sessions get 503."
        )
    if is_fresh:
        before = ", or of the end of the term before" if projection.status == "catching_up" else ""
        return (
            f"Hot sessions are answered as of {projection.as_of}{before}; once that is {bound} old, Postgres answers, "
            "slower."
        )
    return (
        f"What Redis holds is older than {bound}, so Postgres answers: right answers, slower. Under load, hot sessions "
        f"are answered as of {projection.as_of}, others get 503."
    )


def _without_as_of(projection: Projection, bound: str) -> str:
    """Say the same where no beat came under this term, or an API would not read the view."""
    if projection.status == "catching_up":
        return (
            f"Hot sessions are answered as of the end of the term before, while that is under {bound} old; others, and "
            "then all, from Postgres: right answers, slower; 503 under load."
        )
    told = "Every poll is answered from Postgres: right answers, slower; 503 under load."
    return f"{told} Where the API does not reach it either, each gets 503." if _misses_postgres(projection) else told


def what_to_do(projection: Projection) -> str:
    """Name the next step."""
    leader = projection.leader
    if projection.status == "live":
        return _to_look_at(projection) or "Nothing."
    if _unreachable(projection):
        return "Bring Redis back, or mend READSIDE_REDIS_URL. Nothing is rebuilt by hand: the projector does it."
    if any(one.hot_sessions is None for one in projection.slices):
        return (
            "Bring the Redis servers of these slices back, or fail over to their replicas. Nothing is rebuilt by hand: "
            "each slice begins anew by itself, and the others go on meanwhile."
        )
    if projection.writable is False:
        return (
            "Have READSIDE_REDIS_URL lead to a Redis that takes writes: the primary. The projector goes on by itself."
        )
    if leader is None:
        return _without_leader(projection)
    return _BY_STATUS[projection.status]


_BY_STATUS = {
    "down": "Mend the reason given above. The projector runs, and goes on by itself.",
    "catching_up": "Wait: seconds; minutes with many large sessions. If it begins again and again, see the last error.",
    "stale": "See whether Postgres answers and the leader's host is well; its log says what it waits for.",
}


def _without_leader(projection: Projection) -> str:
    if any(report.get("reason") for report in projection.standbys):
        return "Mend what the projector says; it tries again by itself every few seconds."
    if any(map(stands_by, projection.standbys)):
        return "Wait a few seconds: a projector that stands by takes over. If none does, see its log."
    if projection.standbys:
        return "Wait a few seconds: a projector starts. If it does not lead then, see its log."
    return "Start `readside projector`, or see in its log why it does not run or cannot reach Redis."


def _to_look_at(projection: Projection) -> str:
    """Name what is not as it should be though the projection is live."""
    leader, told = projection.leader or {}, []
    if queue_fullness(leader) > QUEUE_WORRIES:
        told.append(
            "Find the listener that does not read (pg_stat_activity): who else notifies fails when the queue is full."
        )
    if leader.get("letters_disk_full"):
        told.append("Free the disk of PostgreSQL: writers may fail until then, and letters are not emptied.")
    elif not leader.get("letters_open", True):
        told.append(
            "End what holds the tables of letters (pg_locks), a dump or the oldest transaction that wrote events: "
            "no letters are written until then."
        )
    if leader.get("set_aside"):
        told.append("See with `readside explain SESSION` why sessions are set aside, if their polls are too slow.")
    if leader.get("drift"):
        told.append("Sessions that differed were loaded anew; the leader's log names them: ask what changed Redis.")
    if any(map(partial(differs_in_slices, leader), projection.standbys)):
        told.append(
            "Give all projectors the same READSIDE_SLICES: those with another than the leader cannot take over."
        )
    if any(map(near_bound, projection.apis)):
        told.append(
            "See who holds so many connections to the API. Start another API, or raise READSIDE_MAX_CONNECTIONS and "
            "the limit of open files: past the bound new clients get 503."
        )
    return " ".join(told)


def differs_in_slices(leader: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """Whether a projector takes the view to have another number of slices than the one that leads."""
    return bool(leader) and slices_of(report) != slices_of(leader)


def queue_fullness(leader: Mapping[str, Any]) -> float:
    """How full Postgres' notification queue is, 0 to 1, as a projector reports it."""
    usage = leader.get("notification_queue_usage")
    return float(usage) if isinstance(usage, int | float) else 0.0


def stands_by(report: Mapping[str, Any]) -> bool:
    """Tell one that waits for its turn from one that cannot lead yet, for the reason that it reports."""
    return report.get("role") == "standby"


def _misses_postgres(projection: Projection) -> bool:
    """Whether what keeps the projector from being live is Postgres; an API may reach it by another way, or role."""
    reports = (projection.leader or {}, *projection.standbys)
    told = (projection.reason, *(report.get("reason") for report in reports))
    return any(str(reason).startswith("PostgreSQL at ") for reason in told)


def near_bound(report: Mapping[str, Any]) -> bool:
    """Whether an API process has nearly as many connections as it may."""
    return bool(report.get("near_bound"))


def _unreachable(projection: Projection) -> bool:
    return projection.hot_sessions is None
