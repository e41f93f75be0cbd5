"""`readside explain`: why a session's polls are answered as they are, where an event is, and what an offset is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import NamedTuple

import orjson

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable
from readmodel.postgres.client import Connection, check_rows_visible, check_server, translated
from readmodel.postgres.event_stream import StreamLog
from readmodel.postgres.sql import Tables
from readmodel.postgres.tables import TableFinder, look_for_tables
from readmodel.values.ids import parse_event_id, parse_session_id
from readmodel.values.offset import Offset, parse_offset
from readmodel.view.projection import read_projection
from readmodel.view.whole import WholeView
from readside.commands.facts import SessionFacts, as_json
from readside.commands.stores import NAME, open_pool, open_postgres, open_view
from readside.commands.terminal import plain, tell
from readside.inspection.explanation import sentences
from readside.inspection.offsets import OffsetFacts, look_at_offset, offset_as_json, offset_sentences
from readside.inspection.session_states import LogState, ViewState, look_at_log, look_at_view
from readside.settings import Settings

PASS_SECONDS = 3.0
"""What Redis lacks is looked for again when as-of has passed the first look; as-of is waited for so long."""
STEP_SECONDS = 0.05
UNREACHABLE = 2
_LABEL_WIDTH = 20


async def explain(settings: Settings, session: str, event: str | None, *, offset: str | None = None, json: bool) -> int:
    """Explain a session, an event of it, and an offset of its stream.

    Gives 2 where a store could not be asked, after all that the other one tells.

    Raises InvalidParameter, ConfigurationError, and a store's error where neither can be asked.
    """
    session_id = parse_session_id(session)
    event_id = None if event is None else parse_event_id(event)
    place = None if offset is None else parse_offset(offset)
    errors: list[ServiceError] = []
    async with _looking(settings, errors) as looking:
        facts = await looking.facts(session_id, event_id)
        placed = None if place is None else await looking.offset(session_id, place)
    if facts.viewed is None and facts.stored is None:
        raise type(errors[0])(" ".join(map(str, errors)))
    _print(facts, placed, errors, json=json)
    return UNREACHABLE if errors else 0


@asynccontextmanager
async def _looking(settings: Settings, errors: list[ServiceError]) -> AsyncIterator[_Looking]:
    """Open both stores, or the one that answers."""
    async with AsyncExitStack() as stack:
        view = await stack.enter_async_context(open_view(settings))
        log, database, url = None, "", settings.require_database_url()
        try:
            opened = await stack.enter_async_context(open_postgres(settings))
            tables = await look_for_tables(url, application_name=NAME)
            database = (await check_server(opened, url)).database
            with translated(url):
                await check_rows_visible(opened, tables)
            log = OpenLog(opened, tables)
        except (StoreUnavailable, StoreRefused) as error:
            errors.append(error)
        yield _Looking(settings, view, log, database, errors)


class OpenLog(NamedTuple):
    """A connection to Postgres, and the tables there."""

    connection: Connection
    tables: Tables


class _Looking:
    """Looks at the stores; what keeps it from one goes into `errors`."""

    def __init__(
        self,
        settings: Settings,
        view: WholeView,
        log: OpenLog | None,
        database: str,
        errors: list[ServiceError],
    ) -> None:
        self._settings = settings
        self._view = view
        self._log = log
        self._database = database
        self._errors = errors

    async def facts(self, session_id: str, event_id: str | None) -> SessionFacts:
        """Look, and look again at what may merely be late."""
        facts = SessionFacts(
            session_id,
            event_id,
            viewed=await self._viewed(session_id, event_id),
            stored=await self._stored(session_id, event_id),
            projection=await read_projection(self._view, self._settings.max_staleness_seconds, self._database),
            max_staleness_seconds=self._settings.max_staleness_seconds,
            hot_ttl_seconds=self._settings.hot_ttl_seconds,
            slice=self._view.slices.index_of(session_id),
        )
        doubtful = facts.same is None or facts.place() == "on_its_way"
        if facts.hot and facts.stored is not None and doubtful and await self._passed(session_id, facts.stored.now_us):
            viewed, stored = await self._viewed(session_id, event_id), await self._stored(session_id, event_id)
            quiet = stored is not None and replace(stored, now_us=0) == replace(facts.stored, now_us=0)
            had = facts.stored.event_session == session_id
            facts = replace(facts, viewed=viewed, stored=stored, passed=quiet or had, quiet=quiet)
        return facts

    async def offset(self, session_id: str, offset: Offset) -> OffsetFacts:
        """Look who goes on from an offset."""
        view = self._view.part_of(session_id)
        if self._log is None:
            return await look_at_offset(session_id, offset, view, None, self._database, self._errors)
        url = self._settings.require_database_url()
        async with open_pool(self._settings) as pool:
            log = StreamLog(pool, url, TableFinder(url, application_name=NAME), self._settings.database_schema)
            return await look_at_offset(session_id, offset, view, log, self._database, self._errors)

    async def _viewed(self, session_id: str, event_id: str | None) -> ViewState | None:
        try:
            return await look_at_view(self._view.part_of(session_id), session_id, event_id, self._database)
        except (StoreUnavailable, StoreRefused) as error:
            self._errors.append(error)
            return None

    async def _stored(self, session_id: str, event_id: str | None) -> LogState | None:
        if self._log is None:
            return None
        try:
            url = self._settings.require_database_url()
            return await look_at_log(self._log.connection, self._log.tables, url, session_id, event_id)
        except (StoreUnavailable, StoreRefused) as error:
            self._errors.append(error)
            return None

    async def _passed(self, session_id: str, instant_us: int) -> bool:
        """Wait until the session's slice holds all that was committed before this instant; False where it does not."""
        deadline = time.monotonic() + PASS_SECONDS
        while time.monotonic() < deadline:
            position = await self._view.part_of(session_id).position()
            if position is not None and position.live and (position.as_of_us or 0) >= instant_us:
                return True
            await asyncio.sleep(STEP_SECONDS)
        return False


def _print(facts: SessionFacts, placed: OffsetFacts | None, errors: list[ServiceError], *, json: bool) -> None:
    told, said = as_json(facts), list(sentences(facts))
    if placed is not None:
        told["offset"] = offset_as_json(placed)
        said += offset_sentences(placed)
    if json:
        body = {**told, "explanation": said, "errors": [plain(str(error)) for error in errors]}
        tell(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode())
    else:
        for sentence in said:
            tell(sentence)
        for store in ("redis", "postgres"):
            if told[store] is not None:
                tell(f"\n{store.capitalize()}")
                for name, value in told[store].items():
                    tell(f"  {name.replace('_', ' '):<{_LABEL_WIDTH}}{_shown(value)}")
    for error in errors:
        tell(f"readside: {plain(str(error))}", err=True)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(part)}" for name, part in value.items())
    return plain(" ".join(map(str, value)) if isinstance(value, list) else str(value))
