"""A session's stream in memory, as Postgres gives it: what is asked is kept, and answers are given as they are set."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from readmodel.errors import ServiceError
from readmodel.postgres.event_stream import LogArrivals
from readmodel.values.arrivals import Arrivals, StreamRead
from readmodel.values.cut import Cut
from readmodel.values.offset import Offset
from tests.support.viewing import DATABASE

NEXT = Offset("00000000", Cut(1, frozenset()))


@dataclass
class FakeStreamLog:
    """Answers every question with `events`; `error` makes it fail; `status` is every session's."""

    events: list[bytes] = field(default_factory=list)
    status: str | None = "in_progress"
    error: ServiceError | None = None
    questions: list[StreamRead] = field(default_factory=list)
    database: str = DATABASE

    async def answer(self, question: StreamRead, _max_bytes: int) -> LogArrivals:
        """Answer as of now."""
        self.questions.append(question)
        if self.error:
            raise self.error
        arrivals = Arrivals(self.events[: question.limit], NEXT, True, self.status)
        return LogArrivals(arrivals, time.time_ns() // 1000, self.database)
