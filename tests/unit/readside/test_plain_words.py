"""What `readside status` says in plain words, state by state."""

from typing import Any

import pytest

from readmodel.errors import ViewUnavailable
from readmodel.view.projection import Projection, SliceState, unreachable
from readside.commands.plain_words import SHOWN_SLICES, rows
from readside.inspection.of_slices import judge_slices

LEADER: dict[str, Any] = {
    "host": "a.example",
    "pid": 7,
    "role": "leader",
    "state": "live",
    "started_at": "2026-01-13T14:00:00.000000Z",
    "loading": 2,
    "set_aside": 0,
    "drift": 0,
    "compared": 90,
    "notification_queue_usage": 0.0,
    "letters_bytes": 1_500_000,
    "letters_open": True,
    "ringing": True,
    "events_applied": 12,
    "round_trip_ms": 3.21,
    "terms": 1,
    "connections": 1,
    "errors": [{"at": "2026-01-13T14:00:01.000000Z", "text": "PostgreSQL went."}],
}
STANDBY = {**LEADER, "host": "b.example", "role": "standby", "state": "waiting", "errors": []}
FULL = "PostgreSQL at h/d has no space left on its disk: could not extend file."
AWAY = "PostgreSQL at h/d does not answer: Connection refused."
WAITING = {**STANDBY, "role": "starting", "reason": AWAY}
OLD = "The view is of version 2, and this program reads version 3."
REASON = "The triggers are missing: run `readside install`."
LIVE: dict[str, Any] = {"as_of": "2026-01-13T14:30:01.250000Z", "lag_ms": 180, "hot_sessions": 42, "leader": LEADER}


def told(projection: Projection) -> dict[str, str]:
    """The rows by their labels."""
    return {row.label: row.text for row in rows(projection, 5.0)}


def test_when_all_is_well() -> None:
    """Everything that the issue asks for is there, and nothing is to be done."""
    shown = told(Projection("live", standbys=(STANDBY,), **LIVE))

    assert shown == {
        "projection": "live",
        "users see": "Hot sessions are answered from memory or Redis, 180 ms behind; others from Postgres.",
        "what to do": "Nothing.",
        "lag": "180 ms",
        "as of": "2026-01-13T14:30:01.250000Z",
        "hot sessions": "42",
        "loading": "2",
        "set aside": "0",
        "drift": "none",
        "notification queue": "0.0 % full",
        "letters": "1.5 MB; writers ring",
        "tail": "live, the last heartbeat took 3.2 ms; terms begun 1, connections made 1",
        "events applied": "12",
        "leader": "a.example pid 7 (live), since 2026-01-13T14:00:00.000000Z",
        "standby": "b.example pid 7 (waiting), since 2026-01-13T14:00:00.000000Z",
        "last error": "2026-01-13T14:00:01.000000Z: PostgreSQL went.",
    }


@pytest.mark.parametrize(
    ("projection", "users", "to_do"),
    [
        (unreachable(ViewUnavailable("Redis at x does not answer.")), "then from Postgres", "Bring Redis back"),
        (Projection("down", REASON, hot_sessions=0), "from Postgres", "Start `readside projector`"),
        (Projection("down", REASON, lag_ms=900, as_of="T", hot_sessions=1), "answered as of T; once", "Start"),
        (Projection("down", REASON, lag_ms=9000, hot_sessions=1), "older than 5 s, so Postgres", "Start"),
        (Projection("down", hot_sessions=1, standbys=(STANDBY,)), "from Postgres", "stands by takes over"),
        (Projection("down", REASON, hot_sessions=1, standbys=({"reason": REASON},)), "Postgres", "Mend what the proj"),
        (Projection("down", REASON, hot_sessions=1, leader=LEADER), "from Postgres", "Mend the reason given above"),
        (Projection("catching_up", REASON, lag_ms=9, hot_sessions=1, leader=LEADER), "answered as of", "Wait: "),
        (
            Projection("catching_up", REASON, lag_ms=9, as_of="T", hot_sessions=1, leader=LEADER),
            "of the end of the term before",
            "Wait",
        ),
        (Projection("down", OLD, lag_ms=9, as_of="T", hot_sessions=1, leader=LEADER), "Every poll is answered", "Mend"),
        (Projection("catching_up", REASON, hot_sessions=1, leader=LEADER), "while that is under 5 s old", "Wait"),
        (
            Projection("down", AWAY, lag_ms=9, as_of="T", hot_sessions=1, standbys=(WAITING,)),
            "and other sessions get 503",
            "Mend what",
        ),
        (
            Projection("down", AWAY, lag_ms=9000, as_of="T", hot_sessions=1, standbys=(WAITING,)),
            "as of T; that is older than 5 s",
            "Mend",
        ),
        (
            Projection("down", AWAY, hot_sessions=1, standbys=(WAITING,)),
            "Where the API does not reach it either",
            "Mend",
        ),
        (
            Projection("down", REASON, hot_sessions=1, standbys=({**WAITING, "reason": None},)),
            "Postgres",
            "a projector starts",
        ),
        (Projection("stale", REASON, lag_ms=9000, hot_sessions=1, leader=LEADER), "so Postgres", "whether Postgres"),
        (Projection("live", **{**LIVE, "leader": {**LEADER, "set_aside": 2}}), "memory", "`readside explain SESSION`"),
        (Projection("live", **{**LIVE, "leader": {**LEADER, "drift": 1}}), "memory", "loaded anew"),
        (
            Projection("live", **{**LIVE, "leader": {**LEADER, "letters_open": False}}),
            "memory",
            "a dump or the oldest tra",
        ),
        (Projection("live", **{**LIVE, "leader": {**LEADER, "letters_disk_full": FULL}}), "memory", "Free the disk"),
        (
            Projection("live", **{**LIVE, "leader": {**LEADER, "letters_disk_full": FULL, "letters_open": False}}),
            "memory",
            "Free the disk",
        ),
        (
            Projection("live", **{**LIVE, "leader": {**LEADER, "notification_queue_usage": 0.4}}),
            "memory",
            "listener that does not read",
        ),
        (Projection("live", **{**LIVE, "leader": {"role": "leader"}}), "memory", "Nothing."),
    ],
)
def test_what_users_see_and_what_to_do(projection: Projection, users: str, to_do: str) -> None:
    """In every state, reports of other versions included."""
    shown = told(projection)

    assert users in shown["users see"]
    assert to_do in shown["what to do"]
    assert shown.get("why") == projection.reason


API: dict[str, Any] = {
    "host": "c.example",
    "pid": 9,
    "started_at": "2026-01-13T14:00:00.000000Z",
    "connections": 812,
    "connections_bound": 1000,
    "near_bound": True,
}


def test_the_connections_of_each_api_process() -> None:
    """One near its bound stands out, and there is something to do."""
    other = {**API, "host": "d.example", "connections": 3, "near_bound": False}
    projection = Projection("live", apis=(API, other, {}), **LIVE)
    shown = [(row.text, row.style) for row in rows(projection, 5.0) if row.label == "API"]

    assert shown == [
        ("c.example pid 9: 812 of 1000 connections, near the bound, since 2026-01-13T14:00:00.000000Z", "yellow"),
        ("d.example pid 9: 3 of 1000 connections, since 2026-01-13T14:00:00.000000Z", ""),
        ("None pid None: ? of ? connections, since None", ""),
    ]
    assert told(projection)["what to do"].startswith("See who holds so many connections to the API.")
    assert told(Projection("live", apis=(other,), **LIVE))["what to do"] == "Nothing."


def test_why_letters_are_not_emptied() -> None:
    """In Postgres' own words, beside how much they take; past the bound, that none is written comes first."""
    shown = told(Projection("live", **{**LIVE, "leader": {**LEADER, "letters_disk_full": FULL}}))
    closed = told(Projection("live", **{**LIVE, "leader": {**LEADER, "letters_open": False}}))

    assert shown["letters"] == f"1.5 MB, not emptied: {FULL}"
    assert closed["letters"] == "1.5 MB, and none is written: the view is compared instead"


@pytest.mark.parametrize(
    ("changed", "style"), [({}, ""), ({"letters_disk_full": FULL}, "red"), ({"letters_open": False}, "red")]
)
def test_trouble_with_letters_is_red(changed: dict[str, Any], style: str) -> None:
    """As other things that somebody should mend."""
    shown = rows(Projection("live", **{**LIVE, "leader": {**LEADER, **changed}}), 5.0)

    assert [row.style for row in shown if row.label == "letters"] == [style]


def test_a_redis_that_takes_no_writes() -> None:
    """Nobody is sent to start a projector that runs."""
    shown = told(Projection("down", reason="Redis at h is read-only.", writable=False, **{**LIVE, "leader": None}))

    assert shown["why"] == "Redis at h is read-only."
    assert shown["what to do"].startswith("Have READSIDE_REDIS_URL lead to a Redis that takes writes")


@pytest.mark.parametrize(
    ("report", "label", "words"),
    [
        (STANDBY, "standby", "(waiting)"),
        (WAITING, "projector", "(cannot lead yet)"),
        ({**WAITING, "reason": None}, "projector", "(starting)"),
    ],
)
def test_what_a_projector_that_does_not_lead_is_called(report: dict[str, Any], label: str, words: str) -> None:
    """One that waits for its turn stands by; one that is refused does not."""
    shown = told(Projection("down", REASON, hot_sessions=0, standbys=(report,)))

    assert words in shown[label]
    assert len({"standby", "projector"} & shown.keys()) == 1


def of_slices(*unwell: SliceState, count: int = 32, **changes: Any) -> Projection:
    """A projection of slices on three nodes, of which these are not live."""
    others = {one.slice: one for one in unwell}
    slices = tuple(
        others.get(index, SliceState(index, f"{index % 3}:7", "live", None, "T", 90, 4, "t", 1))
        for index in range(count)
    )
    status = unwell[0].status if unwell else "live"
    return Projection(status, **{**LIVE, "slices": slices, **changes})


def away(index: int) -> SliceState:
    """A slice whose server is away."""
    return SliceState(index, f"{index % 3}:7", "down", "Redis at 1:7 does not answer.", "T", 61_000, None, None, None)


STALE = SliceState(9, "0:7", "stale", "No heartbeat came.", "T", 6_000, 4, "t", 1)


def test_one_slice_has_no_line() -> None:
    """Nothing is new where the view is one."""
    assert not [label for label in told(Projection("live", **LIVE)) if label.startswith("slice")]
    assert list(judge_slices(Projection("live", **LIVE))) == []


def test_slices_that_are_live_take_one_line() -> None:
    """How many, and on how many nodes."""
    lines = told(of_slices())

    assert lines["slices"] == "32 on 3 nodes, all live"
    assert not [label for label in lines if label.startswith("slice ")]


def test_each_slice_that_is_not_live_has_a_line() -> None:
    """Where it is, how old, and why; the rest of the sessions are answered as ever."""
    lines = told(of_slices(away(7), STALE))

    assert lines["slices"] == "32 on 3 nodes, 2 not live"
    assert lines["slice 7"] == "down on 1:7, lag 61000 ms: Redis at 1:7 does not answer."
    assert lines["slice 9"] == "stale on 0:7, lag 6000 ms: No heartbeat came."
    assert lines["users see"].startswith("Sessions of 30 slices are answered as ever. Those of the others are answered")
    assert lines["what to do"].startswith("Bring the Redis servers of these slices back, or fail over")


def test_a_screen_does_not_name_a_thousand_slices() -> None:
    """The first, and that there are more."""
    lines = told(of_slices(*map(away, range(1_000)), count=1_024))

    assert len([label for label in lines if label.startswith("slice ")]) == SHOWN_SLICES
    assert lines["more slices"].endswith("and 952 more")


def test_a_standby_with_another_number_of_slices() -> None:
    """Though all is live: it could not take over."""
    projection = of_slices(leader={**LEADER, "slices_count": 32}, standbys=({**STANDBY, "slices_count": 8},))
    lines = told(projection)
    (states, differing) = judge_slices(projection)

    assert lines["standby"] == "b.example pid 7 (waiting, 8 slices), since 2026-01-13T14:00:00.000000Z"
    assert lines["what to do"].startswith("Give all projectors the same READSIDE_SLICES")
    assert (states.state, states.text) == ("ok", "32 on 3 nodes, all live")
    assert differing.state == "problem"
    assert (
        "b.example pid 7: The leading projector is set to READSIDE_SLICES=32, and this process to 8" in differing.text
    )


@pytest.mark.parametrize(
    ("unwell", "state"), [((away(7),), "problem"), ((STALE,), "warning"), ((STALE, away(7)), "problem")]
)
def test_doctor_names_the_slices_that_are_not_live(unwell: tuple[SliceState, ...], state: str) -> None:
    """One that is down is a problem; one that catches up gets well by itself."""
    (finding,) = judge_slices(of_slices(*unwell))

    assert finding.state == state
    assert (
        f"32 on 3 nodes; not live: {', '.join(str(one.slice) for one in sorted(unwell, key=lambda one: one.slice))}."
        in (finding.text)
    )
