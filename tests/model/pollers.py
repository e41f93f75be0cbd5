"""What dashboards ask: pages, filters, and above all what is later than the newest event, in many spellings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from random import Random

from query_api.http.reply import Reply
from tests.model.postgres import Postgres
from tests.model.writers import NOON, SESSIONS, STEPS

PLAIN = (
    ("limit=1000",),
    ("limit=1000",),
    ("limit=2",),
    ("page=2", "limit=2"),
    ("event_type=step_created",),
    ("type=step_created", "type=artifact_created", "limit=3"),
    (),
)
RARE = (("order=asc", "limit=3"), ("order=asc", f"step_id={STEPS[0]}"), (f"step_id={STEPS[0]}", f"step_id={STEPS[1]}"))
"""Such polls are few: what is answered again and again is what memory is tested by."""
BESIDE_SINCE: tuple[tuple[str, ...], ...] = (
    (),
    (),
    (),
    ("limit=5",),
    ("event_type=step_created",),
    ("page=2", "limit=1"),
)


class Pollers:
    """Draws polls, and what the client remembers of the answers."""

    def __init__(self, postgres: Postgres, chance: Random) -> None:
        self._postgres = postgres
        self._chance = chance
        self._etags: dict[tuple[str, bytes], bytes] = {}
        self._bodies: dict[bytes, bytes] = {}

    def together(self) -> int:
        """Draw how many polls are sent in one turn of the loop."""
        return self._chance.choice((1, 1, 1, 1, 2, 4))

    def poll(self) -> tuple[str, bytes, dict[bytes, bytes]]:
        """Draw a session id, a query string, and headers."""
        chance = self._chance
        session_id = chance.choice(SESSIONS)
        parts = list(chance.choice(RARE if chance.random() < 0.05 else PLAIN))
        if chance.random() < 0.4:
            parts = [
                f"since={self._spelled(self._instant(session_id))}",
                *chance.choice(RARE if chance.random() < 0.05 else BESIDE_SINCE),
            ]
        chance.shuffle(parts)
        query, given = "&".join(parts).encode(), {}
        if chance.random() < 0.03:
            given[b"readside-max-staleness"] = b"0"
        etag = self._etags.get((session_id, query))
        if etag and chance.random() < 0.3:
            given[b"if-none-match"] = etag
        return session_id, query, given

    def understood(self, session_id: str, query: bytes, reply: Reply) -> Reply:
        """A reply as its client understands it: what is not modified is what it has."""
        etag = dict(reply.headers).get(b"etag", b"")
        if reply.status == 200:
            self._etags[session_id, query] = etag
            self._bodies[etag] = reply.body
        return Reply(200, reply.fields, self._bodies[etag]) if reply.status == 304 else reply

    def _instant(self, session_id: str) -> int:
        """Draw an instant: that of the newest event, or of one of the next, or close to it; or any."""
        chance, state = self._chance, self._postgres.sessions.get(session_id)
        if chance.random() < 0.1:
            return NOON + chance.randrange(-1, 21)
        newest = sorted((event.score or 0 for event in state.events.values()), reverse=True) if state else []
        return chance.choice((newest or [NOON])[: chance.choice((1, 1, 5))]) + chance.choice((-1, 0, 0, 0, 1))

    def _spelled(self, instant_us: int) -> str:
        chance = self._chance
        zone = timezone(timedelta(hours=chance.choice((0, 0, 0, 1, -5))))
        at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=instant_us)
        text = at.astimezone(zone).isoformat(chance.choice("T "), "microseconds")
        if chance.random() < 0.5:
            text = text.replace("+00:00", "Z")
        if chance.random() < 0.2:
            text = text.replace(".", ",")
        return text.replace("+", chance.choice(("+", "%2B"))).replace(" ", "%20")
