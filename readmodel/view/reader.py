"""One slice of the view in Redis as everybody may read it: polls, the position, headers, the hot sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from readmodel.errors import AnswerTooLarge, ForeignView, OffsetGone, ServiceError
from readmodel.redis.client import refusal, target, translated
from readmodel.redis.evaluate import Script
from readmodel.values.arrivals import MAX_ARRIVALS, Arrivals, StreamRead
from readmodel.values.ids import is_uuid
from readmodel.values.offset import Offset
from readmodel.values.poll import Poll
from readmodel.view.arrival_log import unpack_cut
from readmodel.view.header import FIELDS, Header, number, read_header, text
from readmodel.view.keys import Keys
from readmodel.view.scripts import source

Question = Poll | StreamRead
"""What the view is asked of a session."""
_NO_FIELDS = (None,) * len(FIELDS)


class Cold(NamedTuple):
    """The view cannot answer this poll; `reason` is for people."""

    reason: str

    @property
    def damaged(self) -> bool:
        """Whether the session's keys are not as the projector left them."""
        return self.reason == "damaged"


LONG_PAGE = Cold("a long page")
"""The view has it, and it is longer than the reply might be."""


class ViewPage(NamedTuple):
    """A page from the view.

    `page` is the events' JSON joined by commas. `as_of_us` is microseconds since 1970 by Postgres' clock, `lag_us` how
    old that instant was when Redis answered. `term` is "" when the answer is right at its as-of but must not be kept.
    `newest_us` is the session's latest timestamp, whatever the poll asked; None when it has no events. A poll with
    `since` that finds a few gives the newest events too, newest first, and whether there are no others. `shortened_to`
    is how long pages are where that is less than the poll's limit.
    """

    page: bytes
    total: int
    status: str
    as_of_us: int
    lag_us: int
    term: str
    n: int
    newest_us: int | None = None
    newest_scores: Sequence[int] = ()
    newest_members: Sequence[bytes] = ()
    newest_is_all: bool = False
    shortened_to: int | None = None


class ViewArrivals(NamedTuple):
    """What the view gives of a stream; instants and numbers as in `ViewPage`."""

    arrivals: Arrivals
    as_of_us: int
    lag_us: int
    term: str
    n: int

    @property
    def status(self) -> str | None:
        """The session's."""
        return self.arrivals.status


@dataclass(frozen=True, slots=True)
class Position:
    """Where the view is; `lag_us` is how old `as_of_us` was when Redis answered (both None before the first beat)."""

    term: str
    n: int
    live: bool
    as_of_us: int | None
    lag_us: int | None
    version: str
    database: str


class WholeSession(NamedTuple):
    """All that the view holds of one session in one instant, and the term that it is at.

    `types` is the total per type ("" for those that no poll can name); `members` come with their scores.
    """

    term: str
    header: Header
    types: dict[str, int]
    members: list[tuple[bytes, float]]
    type_index: dict[bytes, bytes]


class ViewReader:
    """Reads of one slice. Each raises ViewUnavailable, AccessRefused or ForeignView."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys
        self._read = Script(redis, source("read"))
        self._stream = Script(redis, source("stream"))

    async def read(self, poll: Poll, max_bytes: int, database: str = "") -> ViewPage | Cold:
        """Answer a poll in one call, of the view of `database` ("": any); raises AnswerTooLarge past `max_bytes`."""
        (answer,) = await self.read_all([poll], max_bytes, database)
        if isinstance(answer, ServiceError):
            raise answer
        if isinstance(answer, ViewArrivals):
            raise TypeError("A poll is answered by a page.")
        return answer

    async def read_all(
        self,
        questions: Sequence[Question],
        max_bytes: int,
        database: str = "",
        reply_bytes: int | None = None,
        keys_of: Callable[[str], Keys] | None = None,
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        """Answer polls in one round trip, and streams in another, each by one call.

        What `read` and `read_stream` would raise stands in a question's place. LONG_PAGE stands in the place of a page
        that is longer than `reply_bytes` (None: none is); of a stream less is given. `keys_of` gives the slice of a
        session where they are of several on this server. Raises what concerns them all: ViewUnavailable, AccessRefused.
        """
        answers: dict[int, ViewPage | ViewArrivals | Cold | ServiceError] = {}
        most = max_bytes if reply_bytes is None else min(max_bytes, reply_bytes)
        polls, streams, calls, stream_calls = [], [], [], []
        for place, question in enumerate(questions):
            keys = self.keys if keys_of is None else keys_of(question.session_id)
            if isinstance(question, Poll):
                polls.append(place)
                calls.append(_poll_call(keys, question, (max_bytes, most), database))
            elif question.offset is not None and question.offset.within is not None:
                answers[place] = Cold("within a long answer")
            else:
                streams.append((place, question.offset if question.limit else None))
                stream_calls.append(_stream_call(keys, question, most, database))
        with translated(self.redis):
            pages = await self._read.run(calls) if calls else []
            arrivals = await self._stream.run(stream_calls) if stream_calls else []
        for place, reply in zip(polls, pages, strict=True):
            answers[place] = self._answer(reply, max_bytes, database)
        for (place, offset), reply in zip(streams, arrivals, strict=True):
            answers[place] = self._arrived(reply, offset, database)
        return [answers[place] for place in range(len(questions))]

    def _answer(self, reply: Any, max_bytes: int, database: str) -> ViewPage | Cold | ServiceError:
        if isinstance(reply, ResponseError):
            return refusal(self.redis, reply)
        match reply[0]:
            case b"ok":
                return _found(reply)
            case b"large":
                return AnswerTooLarge(int(reply[1]), max_bytes)
            case b"foreign":
                return self._foreign(reply[1].decode(), database)
            case _:
                return Cold(reply[1].decode())

    async def read_stream(
        self, session_id: str, offset: Offset | None, max_bytes: int, database: str = "", *, most: int = MAX_ARRIVALS
    ) -> ViewArrivals | Cold:
        """What arrived in a session behind an offset, by one call; None is the start of the stream.

        Places within a long answer are for Postgres. Raises OffsetGone where the offset is of another history.
        """
        return await self._read_stream(StreamRead(session_id, offset, most), max_bytes, database)

    async def stream_tail(self, session_id: str, database: str = "") -> ViewArrivals | Cold:
        """The end of a session's stream: no events, and the offset behind all of them."""
        return await self._read_stream(StreamRead(session_id, limit=0), 0, database)

    async def _read_stream(self, question: StreamRead, max_bytes: int, database: str) -> ViewArrivals | Cold:
        (answer,) = await self.read_all([question], max_bytes, database)
        if isinstance(answer, ServiceError):
            raise answer
        if isinstance(answer, ViewPage):
            raise TypeError("A stream is answered by arrivals.")
        return answer

    def _arrived(self, reply: Any, asked: Offset | None, database: str) -> ViewArrivals | Cold | ServiceError:
        if isinstance(reply, ResponseError):
            return refusal(self.redis, reply)
        match reply[0]:
            case b"ok":
                return _arrivals(reply, asked)
            case b"foreign":
                return self._foreign(reply[1].decode(), database)
            case b"gone":
                return OffsetGone("it is of another database, or from before a crash or promotion")
            case _:
                return Cold(reply[1].decode())

    async def position(self) -> Position | None:
        """Read where the view is; None when there is none."""
        with translated(self.redis):
            raw: dict[Any, Any] = await self.redis.hgetall(self.keys.position)
            seconds, micros = await self.redis.time()
        return position_of(raw, seconds * 1_000_000 + micros)

    async def check(self, database: str) -> None:
        """Raise unless Redis answers and holds no view, or that of `database` ("" for any)."""
        at = await self.position()
        if at and database not in {"", at.database}:
            raise self._foreign(at.database, database)

    def misfit(self, reply: Any, database: str) -> ServiceError | None:
        """What `check` raises, by the position's term and database as Redis answered, or the refusal of that."""
        if isinstance(reply, ResponseError):
            return refusal(self.redis, reply)
        term, found = reply
        return None if term is None or database in {"", text(found)} else self._foreign(text(found), database)

    def _foreign(self, found: str, database: str) -> ForeignView:
        return ForeignView(
            f"Redis at {target(self.redis)} holds the view of another database ({found or 'unnamed'}) than "
            f"READSIDE_DATABASE_URL leads to ({database}): set another READSIDE_REDIS_PREFIX than {self.keys.prefix}."
        )

    async def headers(self, session_ids: Sequence[str]) -> list[Header | None]:
        """Read the headers of these sessions, in order; None where there is none, or what is there is no header."""
        if not session_ids:
            return []
        pipeline: Any = self.redis.pipeline(transaction=False)  # redis-py types its queued commands as awaitables
        for sid in session_ids:
            pipeline.hmget(self.keys.header(sid), FIELDS)
            pipeline.zcard(self.keys.events(sid))
            pipeline.hget(self.keys.index(sid), "#")
        with translated(self.redis):
            replies = await pipeline.execute(raise_on_error=False)
        headers = []
        for place, sid in enumerate(session_ids):
            fields, events, indexed = replies[3 * place : 3 * place + 3]
            events = self.unless_damaged(events, None)
            headers.append(
                read_header(sid, self.unless_damaged(fields, _NO_FIELDS), events, self.unless_damaged(indexed, b""))
            )
        return headers

    def unless_damaged(self, reply: Any, otherwise: Any) -> Any:
        """What Redis replied about a session's key, or else `otherwise` where the key is of another type."""
        if not isinstance(reply, ResponseError):
            return reply
        if "WRONGTYPE" not in str(reply):
            raise refusal(self.redis, reply) from reply
        return otherwise

    async def whole(self, session_id: str) -> WholeSession | None:
        """Read a session whole, in one transaction; None where there is no header, or no position."""
        pipeline: Any = self.redis.pipeline(transaction=True)
        pipeline.hget(self.keys.position, "term")
        pipeline.hgetall(self.keys.header(session_id))
        pipeline.zrange(self.keys.events(session_id), 0, -1, withscores=True)
        pipeline.hgetall(self.keys.index(session_id))
        with translated(self.redis):
            term, *parts = await pipeline.execute(raise_on_error=False)
        if isinstance(term, ResponseError):
            raise refusal(self.redis, term) from term
        nothing: tuple[Any, ...] = ({}, [], {})
        raw, members, index = map(self.unless_damaged, parts, nothing)
        fields = [raw.get(name.encode()) for name in FIELDS]
        header = read_header(session_id, fields, len(members), index.get(b"#"))
        if term is None or header is None:
            return None
        types = {text(name[2:]): number(count) or 0 for name, count in raw.items() if name.startswith(b"t:")}
        return WholeSession(text(term), header, types, members, index)

    async def hot_count(self) -> int:
        """Count the sessions that the index lists."""
        with translated(self.redis):
            return int(await self.redis.zcard(self.keys.hot))

    async def hot_sessions(self, offset: int = 0, limit: int = -1) -> list[tuple[str, int]]:
        """List (session id, last activity in ms since 1970), most recently active first; all by default.

        What is no session id is left out. Raises ForeignView too when there is nothing else in the whole list.
        """
        last = -1 if limit < 0 else offset + limit - 1
        with translated(self.redis):
            raw: Any = await self.redis.zrevrange(self.keys.hot, offset, last, withscores=True)
        listed = [(text(sid), int(score)) for sid, score in raw]
        sessions = [entry for entry in listed if is_uuid(entry[0])]
        if listed and not sessions and not offset and limit < 0:
            raise ForeignView(
                f"Redis at {target(self.redis)} holds other data in {self.keys.hot}: set another READSIDE_REDIS_PREFIX."
            )
        return sessions

    async def write_refusal(self) -> str | None:
        """The sentence with which Redis refuses writes; None where it takes them, or we may only read.

        The question is a write that changes nothing. Raises ViewUnavailable where Redis does not answer at all.
        """
        for key in (self.keys.apis, self.keys.projectors):  # an API may be let write its own reports alone
            with translated(self.redis):
                try:
                    await self.redis.hdel(key, "")
                except NoPermissionError:
                    continue
                except ResponseError as error:
                    if "WRONGTYPE" in str(error) and key == self.keys.apis:
                        continue  # nobody's outage
                    return str(refusal(self.redis, error))
            return None
        return None

    async def now_us(self) -> int:
        """Ask Redis' clock: microseconds since 1970."""
        with translated(self.redis):
            seconds, micros = await self.redis.time()
        return int(seconds) * 1_000_000 + int(micros)

    async def projectors(self) -> dict[str, bytes]:
        """Read the projectors' own reports: id to JSON."""
        return await self._reports(self.keys.projectors)

    async def apis(self) -> dict[str, bytes]:
        """Read the API processes' own reports: id to JSON."""
        return await self._reports(self.keys.apis)

    async def _reports(self, key: str) -> dict[str, bytes]:
        with translated(self.redis):
            raw: dict[Any, Any] = await self.redis.hgetall(key)
        return {text(name): report for name, report in raw.items()}


def position_of(raw: Mapping[Any, Any], now_us: int) -> Position | None:
    """Read the position off its hash; `now_us` is the clock of the Redis that holds it. None where there is none."""
    if b"term" not in raw:
        return None
    as_of, at = number(raw.get(b"as_of")), number(raw.get(b"as_of_at"))
    lag = None
    if as_of is not None and at is not None:
        lag = max(0, now_us - at) + (number(raw.get(b"round_trip_us")) or 0)
    return Position(
        term=text(raw[b"term"]),
        n=number(raw.get(b"n")) or 0,
        live=raw.get(b"live") == b"1",
        as_of_us=as_of,
        lag_us=lag,
        version=text(raw.get(b"version")),
        database=text(raw.get(b"database")),
    )


def _poll_call(keys: Keys, poll: Poll, bounds: tuple[int, int], database: str) -> tuple[list[str], list[Any]]:
    sid, since = poll.session_id, "" if poll.since_us is None else str(poll.since_us)
    asked = [poll.page, poll.limit, int(poll.may_shorten), int(poll.oldest_first), len(poll.steps)]
    arguments = [keys.version, database, since, *bounds, *asked, *poll.steps, *poll.types]
    return [keys.position, keys.header(sid), keys.events(sid), keys.index(sid)], arguments


def _stream_call(keys: Keys, question: StreamRead, max_bytes: int, database: str) -> tuple[list[str], list[Any]]:
    sid, offset = question.session_id, question.offset
    if not question.limit:
        cut: list[Any] = ["", ""]
    elif offset is None:
        cut = ["", "0"]
    else:
        cut = [offset.origin, offset.cut.xmax, *sorted(offset.cut.running)]
    arguments = [keys.version, database, question.limit, max_bytes, *cut]
    return [keys.position, keys.header(sid), keys.events(sid), keys.log(sid)], arguments


def _found(reply: list[Any]) -> ViewPage:
    _, members, total, status, as_of, round_trip, age, term, n, newest, events, whole, shortened_to = reply
    lag = int(round_trip) + int(age)
    return ViewPage(
        b",".join(members),
        int(total),
        status.decode(),
        int(as_of),
        lag,
        term.decode(),
        int(n),
        number(newest or None),
        list(map(int, events[1::2])),
        events[::2],
        bool(whole),
        shortened_to or None,
    )


def _arrivals(reply: list[Any], asked: Offset | None) -> ViewArrivals:
    _, members, status, as_of, round_trip, age, term, n, line, is_all = reply
    told = Offset(*unpack_cut(line))
    # Postgres' answer may have gone further than the last arrival: an offset never goes back.
    behind = asked if asked is not None and asked.cut.covers(told.cut) else told
    arrivals = Arrivals(members, behind, bool(is_all), status.decode())
    return ViewArrivals(arrivals, int(as_of), int(round_trip) + int(age), term.decode(), int(n))
