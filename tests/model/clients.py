"""Clients of the simulated Postgres that read the tables: each connection was opened while one server ran."""

from readmodel.errors import AnswerTooLarge, EventLogUnavailable
from readmodel.postgres.event_log import LogPage
from readmodel.values.poll import Poll
from tests.model.chance import Machine
from tests.model.postgres import Postgres
from tests.support.viewing import expected


class Client:
    """What reads over connections that were opened while one server ran."""

    def __init__(self, postgres: Postgres, machine: Machine) -> None:
        self.postgres = postgres
        self.machine = machine
        self.generation = postgres.generation

    async def pause(self) -> None:
        """Take a while; raises EventLogUnavailable when the server is another by then, or for no reason."""
        await self.machine.pause()
        if self.generation != self.postgres.generation or self.machine.chance.random() < self.postgres.failing:
            raise EventLogUnavailable("PostgreSQL does not answer.")


class Log(Client):
    """What the API reads; it opens connections as it needs them."""

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll: now() is taken before the snapshot."""
        await self.pause_and_reconnect()
        as_of_us = self.postgres.now_us()
        await self.pause()
        state = self.postgres.sessions.get(poll.session_id)
        page, total = expected(state.events.values() if state else (), poll)
        await self.pause()
        if len(page) > max_bytes:
            raise AnswerTooLarge(1, max_bytes)
        return LogPage(state.status if state else None, page, total, as_of_us, self.postgres.database)

    async def pause_and_reconnect(self) -> None:
        """Open a new connection where the old one is broken."""
        await self.machine.pause()
        self.generation = self.postgres.generation
