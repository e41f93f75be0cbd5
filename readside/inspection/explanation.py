"""What is known of a session, in plain words: is it hot, where is the event, who answers its polls."""

from __future__ import annotations

from collections.abc import Iterator

from readmodel.values.freshness import rfc3339
from readside.commands.facts import Place, SessionFacts
from readside.inspection.session_states import ViewState


def sentences(facts: SessionFacts) -> Iterator[str]:
    """Explain, what matters most first."""
    yield from _session(facts)
    yield from _slice(facts)
    if facts.event_id is not None:
        yield _event(facts)
    yield from _served(facts)


def _session(facts: SessionFacts) -> Iterator[str]:
    stored, viewed = facts.stored, facts.viewed
    if stored is not None and stored.status is None:
        yield "There is no such session in Postgres: never inserted, rolled back, not committed yet, or deleted."
    if viewed is None:
        return
    if facts.hot and viewed.header is not None:
        yield _hot(facts, viewed)
        if facts.same is False:
            yield "Redis and Postgres differ: have it mended by `readside verify --repair " + facts.session_id + "`."
    elif stored is None or stored.status is not None:
        yield from _cold(facts, viewed)


def _slice(facts: SessionFacts) -> Iterator[str]:
    """Say where the session is, and how it is there, where there are several slices."""
    one = facts.of_slices
    if one is None or facts.projection is None:
        return
    told = f"It is in slice {one.slice} of {len(facts.projection.slices)}, on {one.node}"
    why = f": {one.reason.removesuffix('.')}" if one.reason else ""
    yield f"{told}, which is {_CONDITIONS[one.status]}{why}."


_CONDITIONS = {"live": "live", "catching_up": "catching up", "stale": "stale", "down": "down"}


def _cold(facts: SessionFacts, viewed: ViewState) -> Iterator[str]:
    if facts.why_aside:
        yield f"It is set aside, and stays with Postgres: {facts.why_aside.removesuffix('.')}."
        return
    yield f"It is cold: {_COLD.get(str(viewed.cold), str(viewed.cold))}."
    if facts.projection is not None and facts.projection.leader is None:
        yield "Its next poll asks for it to be warmed, which takes a projector: none leads now."
    else:
        yield "Its next poll asks for it to be warmed; `readside warm` does the same now."


_MEMORY = (
    "An API process may also answer from its memory, which cannot be seen from here. The header Readside-Source of an "
    "answer says where it came from."
)

_COLD = {
    "no view": "Redis holds no view, or one of another version of readside",
    "not hot": "Redis does not hold it (not polled or written to lately, evicted, or still being loaded)",
    "not compared under this term": "it has not been compared with Postgres since the leader's last start or reconnect",
    "no as-of yet": "no heartbeat has arrived yet, so its age is unknown",
    "damaged": "one of its keys in Redis was lost or cut, so it is not trusted; the leader loads it anew",
}


def _hot(facts: SessionFacts, viewed: ViewState) -> str:
    header = viewed.header
    assert header is not None  # noqa: S101 (hot without a header there is not)
    since = f"since {rfc3339(viewed.loaded_ms * 1000)}" if viewed.loaded_ms else "since an unknown time"
    held = f"{header.count} events" if header.floor is None else f"the newest {header.held} of {header.count} events"
    told = f"It is hot {since}: Redis holds {held}"
    if header.floor is not None:
        told += f" (all later than {rfc3339(header.floor)}, and some of that instant)"
    if facts.same:
        told += ", the same as Postgres"
    elif facts.same is None and facts.stored is not None:
        told += f" and Postgres {facts.stored.count}, which may have changed meanwhile"
    return f"{told}."


def _event(facts: SessionFacts) -> str:
    place, stored = facts.place(), facts.stored
    if stored is not None and stored.event_unreadable is not None:
        return (
            f"Event {facts.event_id} is in Postgres, where it cannot be read: {stored.event_unreadable}. "
            "Pages with it are not answered."
        )
    told = _PLACES[place]
    if place == "other_session" and stored is not None:
        told = f"belongs to another session, {stored.event_session}"
    elif place == "on_its_way":
        told = f"is in Postgres and not yet in Redis, whose as-of is {_as_of(facts)}: {_waiting(facts)}"
    elif place == "not_hot" and stored is not None and stored.status is None:
        told = "is in Postgres"
    return f"Event {facts.event_id} {told}."


_PLACES: dict[Place, str] = {
    "unknown": "cannot be placed while a store is away",
    "nowhere": "is in neither store: not committed yet, rolled back, deleted, or another id",
    "deleted": "is in Redis and no more in Postgres: deleted just now, or the letter of that was lost (`verify` tells)",
    "other_session": "",
    "not_hot": "is in Postgres, from where polls get it, since the session is not hot",
    "below_window": "is in Postgres and older than the window that Redis holds: polls that reach so far ask Postgres",
    "on_its_way": "",
    "lost": "is in Postgres and not in Redis, though as-of has passed it: have it mended by `readside verify --repair`",
    "in_view": "is in Redis: polls get it",
}


def _as_of(facts: SessionFacts) -> str:
    position = facts.viewed.position if facts.viewed else None
    return rfc3339(position.as_of_us) if position and position.as_of_us is not None else "not known yet"


def _waiting(facts: SessionFacts) -> str:
    state = facts.condition
    if state is None or state.status == "live":
        return "it was committed after that, and arrives with one of the next batches"
    what = "slice" if facts.of_slices else "projection"
    return f"it arrives when the {what} is live again ({state.status.replace('_', ' ')}: {state.reason})"


def _served(facts: SessionFacts) -> Iterator[str]:
    if facts.viewed is None:
        yield "Polls are answered from Postgres while Redis cannot be asked, or from memory until as-of is too old."
        return
    lag = "unknown" if facts.lag_us is None else f"{facts.lag_us / 1_000_000:.1f} s"
    bound = f"{facts.max_staleness_seconds:g} s (READSIDE_MAX_STALENESS_SECONDS)"
    window = facts.viewed.header is not None and facts.viewed.header.floor is not None
    if facts.hot and facts.fresh:
        told = f"Polls are answered from Redis. Redis is {lag} behind; up to {bound} is allowed."
        told += " Polls that reach below its window ask Postgres." if window else ""
    elif facts.hot and facts.stored is None:
        told = (
            f"Redis is {lag} behind; up to {bound} is allowed. Polls are answered from Postgres, or from Redis where "
            "the API does not reach Postgres either."
        )
    elif facts.hot:
        told = f"Polls are answered from Postgres. Redis is {lag} behind; up to {bound} is allowed."
    elif facts.stored is None:
        told = "Redis does not hold the session: polls get 503 where the API does not reach Postgres either."
    else:
        told = "Polls are answered from Postgres, since Redis does not hold the session."
    if facts.stored is None:
        yield f"{told} With `Readside-Max-Staleness: 0` polls get 503 where the API does not reach Postgres."
    else:
        yield f"{told} With `Readside-Max-Staleness: 0` polls are always answered from Postgres."
    yield _MEMORY
