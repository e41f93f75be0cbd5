"""What may happen to a batch on its way to Redis: it comes late, its reply is lost, its sender is frozen meanwhile."""

import asyncio
import signal

import pytest
from redis.asyncio.client import PubSub

from projector.core.operations import Add
from projector.view.writer import TermRefused, ViewWriter
from readmodel.errors import ViewUnavailable
from readmodel.values.messages import Change, decode_change
from readmodel.view.reader import Cold, Position
from tests.support.barriers import after, before, doing
from tests.support.commanding import Projector, Site
from tests.support.projecting import Bench, ids
from tests.support.proxy import Link, Proxy, proxied
from tests.support.waiting import eventually

LOST = ViewUnavailable("the reply was lost on purpose.")


async def test_race_a_late_command(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """An add is given up and repeated, its event is deleted and the view told, the given-up add arrives: refused."""
    async with stage.projector() as telemetry:
        session_id = await stage.writer.session()
        kept = await stage.writer.event(session_id)
        await stage.hot(session_id)
        adds = before(patch, ViewWriter, "apply", doing(Add, session_id))
        adds.close()
        doomed = await stage.writer.event(session_id)
        await adds.reached()
        adds.give_up(LOST)
        assert ids(await stage.same(session_id)) == [doomed, kept]
        await stage.writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", doomed)
        await stage.caught_up()
        await stage.hot(session_id)
        adds.open()
        outcomes = await adds.ended()

        assert [type(outcome) for outcome in outcomes] == [TermRefused]
        assert ids(await stage.same(session_id)) == [kept]
        assert telemetry.terms == 1


async def test_race_a_lost_reply(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """An add is applied, its reply is lost, the same batch is sent again: applied once, told once, the term goes on."""
    async with stage.projector() as telemetry, stage.view.redis.pubsub() as told:
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await told.subscribe(stage.view.keys.changes)
        adds = after(patch, ViewWriter, "apply", doing(Add, session_id))
        adds.close()
        event_id = await stage.writer.event(session_id)
        await adds.reached()
        adds.give_up(LOST)
        assert ids(await stage.same(session_id)) == [event_id]
        adds.open()
        heard = await changes_until(told, await stage.view.position())

        assert telemetry.terms == 1
        assert [change.sessions for change in heard if change.sessions] == [(session_id,)]
        assert [change.n for change in heard] == list(range(heard[0].n, heard[0].n + len(heard)))


async def changes_until(told: PubSub, position: Position | None) -> list[Change]:
    """Read the messages about batches up to a position."""
    assert position is not None
    changes: list[Change] = []
    async with asyncio.timeout(15):
        while not changes or changes[-1].n < position.n:
            message = await told.get_message(timeout=1.0)
            change = decode_change(message["data"]) if message and message["type"] == "message" else None
            changes.extend([change] if change else [])
    return changes


class HeldCommand:
    """One command in the proxy: it has left its sender and has not arrived."""

    def __init__(self, patch: pytest.MonkeyPatch, proxy: Proxy, words: bytes) -> None:
        self._words = words
        self._held: tuple[Link, bytes] | None = None
        self._came = asyncio.Event()
        self.reply = bytearray()
        patch.setattr(proxy, "_see_command", self._see_command)
        patch.setattr(proxy, "_see_reply", self._see_reply)

    async def reached(self) -> None:
        """Wait until it is held."""
        async with asyncio.timeout(15):
            await self._came.wait()

    def go_on(self) -> None:
        """Let it arrive."""
        assert self._held
        link, chunk = self._held
        link.server.write(chunk)
        link.up.open.set()

    def _see_command(self, link: Link, chunk: bytes) -> bytes:
        if self._held or self._words not in chunk:
            return chunk
        self._held = link, chunk
        link.up.open.clear()
        self._came.set()
        return b""

    def _see_reply(self, link: Link, chunk: bytes) -> bytes:
        if self._held and link is self._held[0]:
            self.reply += chunk
        return chunk


async def test_race_a_frozen_leader(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A leader is stopped with an add on its way, another leads, the session is purged, the add arrives: refused."""
    url = stage.config.redis_url
    async with proxied(url) as proxy:
        site = Site.of(stage.config.database_url, proxy.url(url), REDIS_PREFIX="readside")
        async with site.projector() as first:
            await first.says("live")
            session_id = await stage.writer.session()
            await stage.hot(session_id)
            async with site.projector() as second:
                await second.says("standing by")
                command = HeldCommand(patch, proxy, session_id.encode())
                await stage.writer.event(session_id)
                await command.reached()
                first.process.send_signal(signal.SIGSTOP)
                await second.says("live")
                assert (await stage.same(session_id)).total == 1
                await stage.writer.delete_session(session_id)
                await stage.caught_up()
                command.go_on()
                await eventually(lambda: b"refused" in command.reply, f"it is refused: {bytes(command.reply)!r}")
                await woken(first)
                await stage.caught_up()

                assert isinstance(await stage.read(session_id), Cold)
                assert second.said("the term ended") == []


async def woken(projector: Projector) -> None:
    """Let a frozen process go on; it stands by then."""
    projector.process.send_signal(signal.SIGCONT)
    await projector.says("standing by")
