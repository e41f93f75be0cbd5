"""Streams in memory: what Postgres does with an offset, where each row is of a transaction of its own."""

import time
from dataclasses import dataclass, field

from readmodel.errors import OffsetGone, ServiceError
from readmodel.postgres.event_stream import LogArrivals
from readmodel.values.arrivals import Arrivals, StreamRead
from readmodel.values.cut import START, Cut
from readmodel.values.offset import Offset, Within, origin_of
from tests.fakes.event_log import FakeEventLog, Row


@dataclass
class FakeStreams:
    """Reads of the same rows; `error` makes them fail. Another `incarnation` is another history."""

    log: FakeEventLog
    incarnation: int = 1
    error: ServiceError | None = None
    queries: list[StreamRead] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """Names the history."""
        return origin_of(self.log.database, self.incarnation)

    async def answer(self, question: StreamRead, max_bytes: int) -> LogArrivals:
        """Answer as of now."""
        self.queries.append(question)
        if self.error or self.log.error:
            raise self.error or self.log.error or AssertionError
        return LogArrivals(self._arrivals(question, max_bytes), time.time_ns() // 1000, self.log.database)

    def _arrivals(self, question: StreamRead, max_bytes: int) -> Arrivals:
        now, offset = Cut(self.log.next_txid, frozenset()), question.offset
        if offset is not None and (offset.origin != self.origin or offset.cut.xmax > now.xmax):
            raise OffsetGone("it is of another history")
        status = self.log.statuses.get(question.session_id)
        cut, within = (offset.cut, offset.within) if offset else (START, None)
        upto = within.upto if within else now
        rows = [row for row in self.log.rows if row.session_id == question.session_id]
        new = sorted(
            (row for row in rows if not cut.shows(self.log.txid(row)) and upto.shows(self.log.txid(row))), key=_place
        )
        behind = [row for row in new if within is None or _place(row) > (within.timestamp_us, within.id)]
        page = behind[: question.limit]
        while sum(len(row.member()) + 1 for row in page) > max_bytes:
            page.pop()
        if question.limit and len(page) < len(behind):
            place = Within(upto, *_place(page[-1]))
            return Arrivals([row.member() for row in page], Offset(self.origin, cut, place), False, status)
        return Arrivals([row.member() for row in page], Offset(self.origin, upto), within is None, status)


def _place(row: Row) -> tuple[int, bytes]:
    return row.timestamp_us, row.id.bytes
