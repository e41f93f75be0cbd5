"""An API in miniature: a session's events, answered as the contract says, and followers driven against it."""

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from readside_client.follower import Follower
from readside_client.following import Following, Step
from readside_client.instants import timestamp_us
from readside_client.model import Event
from readside_client.protocol import Query, Request, asked

SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
START = datetime(2026, 1, 13, 14, 30, tzinfo=UTC)

Reply = tuple[int, dict[str, str], bytes]


def written(at: datetime) -> str:
    """Print an instant as the API does."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@dataclass
class Answering:
    """The server's side: `now` is its clock, moved by hand; `asked` are the requests that came."""

    now: datetime = START
    events: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    """What happens after each of the next answers."""
    replies: list[Reply] = field(default_factory=list)
    """Given in the place of the next answers."""
    most: int = 1000
    """Events that fit into an answer."""
    shortens: bool = False
    """Whether a page that was asked for too long is shortened, rather than refused."""
    interval: str = "1"
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    """The stream: each event once for each time that it is given."""
    origin: str = "a"
    """Offsets of another are gone."""
    held: float = 20.0
    """Seconds that a live read without news is held."""

    def add(
        self, count: int = 1, *, ago: float = 0.0, event_type: str = "step_created", step: float = 0.0
    ) -> list[str]:
        """Commit events whose timestamps lie `ago` seconds back, `step` seconds apart; gives their ids."""
        ids = [str(uuid4()) for _ in range(count)]
        for place, event_id in enumerate(ids):
            at = self.now - timedelta(seconds=ago - place * step)
            self.events.append(
                {
                    "id": event_id,
                    "session_id": SESSION,
                    "step_id": None,
                    "event_type": event_type,
                    "event_data": {"n": place},
                    "message": None,
                    "timestamp": written(at),
                }
            )
        self.arrivals += self.events[len(self.events) - count :]
        return ids

    def again(self, ids: Iterable[str], **changed: object) -> None:
        """Send events of the stream once more, with what was updated."""
        for event in [event for event in self.events if event["id"] in set(ids)]:
            self.arrivals.append({**event, **changed})

    def delete(self, ids: Iterable[str]) -> None:
        """Delete events."""
        gone = set(ids)
        self.events = [event for event in self.events if event["id"] not in gone]

    def later(self, seconds: float) -> None:
        """Move the clock."""
        self.now += timedelta(seconds=seconds)

    def seconds(self) -> float:
        """Read the clock."""
        return self.now.timestamp()

    @property
    def ids(self) -> list[str]:
        """What is there."""
        return [event["id"] for event in self.events]

    def answer(self, request: Request) -> Reply:
        """Answer a request, then let happen what was planned."""
        self.asked.append(request)
        reply = self.replies.pop(0) if self.replies else self.found(request)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return reply

    def found(self, request: Request) -> Reply:
        """Answer from the events."""
        url = urlsplit(request.url)
        asks = parse_qs(url.query)
        if url.path.endswith("/stream"):
            return self.streamed(asks)
        page, limit = int(asks["page"][0]), int(asks.get("limit", [str(min(100, self.most))])[0])
        if self.shortens:
            limit = min(limit, self.most)
        matches = [event for event in self.events if _matches(event, asks)]
        matches.sort(
            key=lambda event: (_instant(event["timestamp"]), event["id"]), reverse=asks.get("order") != ["asc"]
        )
        items, pages = matches[(page - 1) * limit : page * limit], -(-len(matches) // limit)
        if len(items) > self.most:
            return problem(400, f"limit={self.most} would fit.", parameter="limit")
        pagination = {"page": page, "per_page": limit, "total": len(matches), "total_pages": pages}
        pagination |= {"has_next": page < pages, "has_prev": page > 1}
        body = json.dumps({"items": items, "total": len(matches), "pagination": pagination}).encode()
        etag = f'"{sha256(body).hexdigest()}"'
        headers = {"etag": etag, "x-poll-interval": self.interval, "readside-as-of": written(self.now)}
        headers |= {"readside-source": "memory", "readside-lag-ms": "12"}
        if request.headers.get("if-none-match") == etag:
            return 304, headers, b""
        return 200, headers, body

    def streamed(self, asks: dict[str, list[str]]) -> Reply:
        """Answer from the arrivals; an offset is an origin and how many were given."""
        (offset,) = asks["offset"]
        origin, _, given = {"-1": "a.0", "now": f"a.{len(self.arrivals)}"}.get(offset, offset).partition(".")
        if origin != self.origin and offset not in {"-1", "now"}:
            return problem(410, "The stream can't be continued; read again from -1.")
        if "live" in asks and int(given) == len(self.arrivals):
            self.later(self.held)
        page = self.arrivals[int(given) : int(given) + self.most]
        reached = int(given) + len(page)
        headers = {"stream-next-offset": f"{self.origin}.{reached}", "readside-as-of": written(self.now)}
        headers |= {"readside-source": "memory", "readside-lag-ms": "12"}
        headers |= {"stream-up-to-date": "true"} if reached == len(self.arrivals) else {}
        events = [event for event in page if _matches(event, asks)]
        if "live" in asks and not events and reached == len(self.arrivals):
            return 204, headers, b""
        return 200, headers, json.dumps(events).encode()


_instant = cache(timestamp_us)


def _matches(event: dict[str, Any], asks: dict[str, list[str]]) -> bool:
    later = "since" not in asks or _instant(event["timestamp"]) > _instant(asks["since"][0])
    return later and all(event[name] in asks[name] for name in ("event_type", "step_id") if name in asks)


def problem(status: int, detail: str = "No.", headers: dict[str, str] | None = None, **more: object) -> Reply:
    """An error of the API."""
    return status, headers or {}, json.dumps({"status": status, "detail": detail, **more}).encode()


@dataclass
class Driven:
    """A follower, the API that it asks, and what it delivered; its clock is the API's."""

    api: Answering
    follower: Follower
    delivered: list[Event] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Ids in the order of their delivery."""
        return [event.id for event in self.delivered]

    def step(self) -> Step:
        """One request and its answer."""
        step = self.follower.answered(*self.api.answer(self.follower.ask()))
        self.delivered += step.events
        return step

    def rounds(self, count: int = 1) -> list[str]:
        """So many requests and their answers; gives the ids that came, in order."""
        before = len(self.delivered)
        for _ in range(count):
            self.step()
        return self.ids[before:]


def driven(
    api: Answering,
    *,
    since: datetime | None = None,
    types: tuple[str, ...] = (),
    step_ids: tuple[str, ...] = (),
    chance: random.Random | None = None,
    **options: Any,
) -> Driven:
    """A follower."""
    follower = Follower(asked(SESSION, since, types, step_ids), Following(**options), clock=api.seconds, chance=chance)
    return Driven(api, follower)


def query() -> Query:
    """All events."""
    return asked(SESSION, None, ())
