"""Bugs to be planted, each against one rule of the protocol: a few words of the project's own source are replaced."""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from projector.tail.sql import statement


@dataclass(frozen=True)
class Plant:
    """`where` is a script or an SQL file, or `module:function` or `module:Class.method`; `old` there becomes `new`.

    `under` names the faults, and what writers do, that the rule is for; none: any. `also` are further places.
    """

    rule: str
    where: str
    old: str
    new: str
    under: tuple[str, ...] = ()
    also: tuple[tuple[str, str, str], ...] = ()

    def altered(self, where: str, text: str) -> str:
        """Give a place's text with the bug, if any of it belongs there."""
        for place, old, new in ((self.where, self.old, self.new), *self.also):
            if place == where:
                assert text.count(old) == 1, f"{where} has changed: say anew how to break the rule that {self.rule}"
                text = text.replace(old, new)
        return text

    @property
    def places(self) -> set[str]:
        """Every place that it changes."""
        return {self.where, *(place for place, _, _ in self.also)}

    def in_script(self, name: str, text: str) -> str:
        """Give a script's text with the bug, if it belongs there."""
        return self.altered(f"{name}.lua", text)


PLANTS = {
    "a batch of any number is applied": Plant(
        "a batch is applied after the one before it, or not at all",
        "apply.lua",
        "if tonumber(at[2]) ~= tonumber(n) - 1 then",
        "if false then",
        ("old_dump",),
    ),
    "a batch of any term is applied": Plant(
        "a batch is applied under its own term only",
        "apply.lua",
        "if at[1] ~= term then return {'refused', at[1] or '', at[2] or ''} end",
        "",
        ("old_dump", "lead_lost"),
        (
            (
                "apply.lua",
                "if tonumber(at[2]) ~= tonumber(n) - 1 then",
                "if at[1] == term and tonumber(at[2]) ~= tonumber(n) - 1 then",
            ),
        ),
    ),
    "a batch is forgotten after a lost reply": Plant(
        "after a lost reply the very same batch is sent again",
        "projector.view.committer:Committer._send",
        "unanswered = True\n",
        "unanswered = True\n            return BatchResult()\n",
        ("outage", "replace", "status"),
    ),
    "the beat goes with the first part": Plant(
        "as-of moves when all that the letters asked is applied",
        "projector.view.committer:Committer.commit",
        "beat if last else None",
        "beat if part is parts[0] else None",
        ("subscription_lost",),
    ),
    "only what changed is named": Plant(
        "a message names every session of the letters, hot or not",
        "projector.view.committer:Committer.commit",
        "said += unsaid if last else ()",
        "said += ()",
    ),
    "what arrives during a load is forgotten": Plant(
        "events that are named while a session is loaded belong to it",
        "projector.core.sessions:Sessions.hear",
        "load.arrived |= letters.added[session_id].keys()",
        "pass",
    ),
    "a look drops nothing": Plant(
        "a look drops the session first and loads it after",
        "projector.core.decide:decide",
        "plan.operations[session_id] = [Drop(session_id)]",
        "plan.operations.pop(session_id, None)",
    ),
    "a load is not registered before its snapshot": Plant(
        "a load is registered first, and its snapshot taken later: what is named from then on belongs to it",
        "projector.core.sessions:Sessions.hear",
        "load.arrived |= letters.added[session_id].keys()",
        "load.arrived |= letters.added[session_id].keys() if load.outcome else set()",
        ("key_lost", "index_lost"),
    ),
    "a look during a load is ignored": Plant(
        "a look while a session is loaded starts the load over",
        "projector.core.sessions:Sessions.look",
        "self.restart(session_id)",
        "pass",
        ("index_lost", "key_lost"),
    ),
    "catching up counts and does not compare": Plant(
        "a session is stamped when its ids are Postgres' ids",
        "projector.core.comparison:judge",
        "truth is not None and equal(header, truth):",
        "truth is not None and header.complete and header.count == truth.count:\n"
        "            truth = Truth(truth.status, truth.count, header.hi, header.lo)",
        ("lead_lost", "replace"),
    ),
    "a status is not compared": Plant(
        "a session that is stamped gets the status that Postgres says",
        "projector.core.comparison:judge",
        "if header.status != truth.status:",
        "if False:",
        ("lead_lost", "status"),
    ),
    "changed triggers go on": Plant(
        "a beat with another fingerprint ends the term",
        "projector.term:Term._read",
        "if reading.fingerprint != self._fingerprint:",
        "if False:",
        ("triggers_off",),
    ),
    "a damaged session is read": Plant(
        "a read that finds anything else than the header says is cold",
        "read.lua",
        "if redis.call('ZCARD', events) ~= held or tonumber(redis.call('HGET', index, '#') or '0') ~= held then",
        "if false then",
        ("key_lost",),
    ),
    "the previous term has the present as-of": Plant(
        "a session of the previous term is right as of that term's last beat",
        "read.lua",
        "term, n, as_of, round_trip, as_of_at = '', '0', at[8], at[9], at[10]",
        "term, n = '', '0'",
        ("index_lost", "lead_lost"),
    ),
    "an event below the window is counted": Plant(
        "an event at or below the window of a trimmed session is counted by Postgres",
        "apply.lua",
        "local below = floor and tonumber(score) <= floor",
        "local below = false",
        ("key_lost",),
    ),
    "an answer is stored whatever was dropped": Plant(
        "an answer from before the last drop of its session is not stored",
        "query_api.response_cache:ResponseCache._keep",
        "max(self._floor, self._dropped_at.get(session_id, 0))",
        "self._floor",
        ("staging_lost",),
    ),
    "answers outlive a missed message": Plant(
        "a break in the numbers empties the cache",
        "query_api.response_cache:ResponseCache.hear",
        " or change.n != self._heard.n + 1",
        "",
        ("subscription_lost",),
    ),
    "the newest instant outlives a message": Plant(
        "a message about a session drops what is known of its newest event",
        "query_api.response_cache:ResponseCache._drop",
        "tuple(self._keys_of.get(session_id, ()))",
        "[key for key in self._keys_of.get(session_id, ()) if key != (Newest, session_id)]",
        ("subscription_lost",),
    ),
    "what is known of the newest events reaches too far": Plant(
        "a poll is answered without a read when all that is later than its `since` is known, and only then",
        "query_api.newest:Newest.__init__",
        "newest_us is None or whole",
        "newest_us is None or whole or scores",
        ("subscription_lost",),
    ),
    "an event is later than its own instant": Plant(
        "what is at `since` itself is not later, wherever the answer comes from",
        "query_api.newest:Newest.answer",
        "bisect_left(self._negated, -poll.since_us)",
        "bisect_left(self._negated, 1 - poll.since_us)",
        ("subscription_lost",),
    ),
    "answers of one round trip are exchanged": Plant(
        "each poll of a round trip gets its own answer",
        "query_api.view_reads:ViewReads._round_trip",
        "zip(polls, answers, strict=True)",
        "zip(polls, answers[::-1], strict=True)",
        ("subscription_lost",),
    ),
    "what comes late is indexed last": Plant(
        "the entries of a type stand in the order of their instants",
        "apply.lua",
        "if last > 0 and not is_later(news[1], entry_at(old, 0)) then",
        "if false then",
        ("subscription_lost", "add"),
    ),
    "a query has the number of its end": Plant(
        "an answer of Postgres has the number heard before its query was sent",
        "query_api.fallback:Fallback._send",
        "if number is not None and number.database",
        "number = self._number()\n    if number is not None and number.database",
    ),
    "skipped letters are not counted": Plant(
        "when the counter of skipped letters moved the view is compared before as-of moves",
        "projector.core.skips:Skips.note",
        "moved, ended = count != self.count, ",
        "moved, ended = False, ",
        ("frozen", "lead_lost"),
    ),
    "holders are ignored": Plant(
        "when a transaction ended that may have skipped a letter the view is compared before as-of moves",
        "projector.core.skips:Skips.note",
        "bool(self.holders - held)",
        "False",
        ("lead_lost", "clock_set", "stay_open"),
    ),
    "a holder that prepares is let go": Plant(
        "a holder that prepares its commit is one still, under another name",
        "projector.core.skips:Skips.note",
        "if moved or ended:",
        "if moved:",
        ("clock_set", "prepare", "stay_open"),
    ),
    "transactions that were under way are forgotten": Plant(
        "a reading has the letters of those who were under way when the snapshot before it was taken",
        "fresh_letters.sql",
        "letters_0 WHERE txid = ANY",
        "letters_0 WHERE false AND txid = ANY",
        ("stay_open",),
        (
            ("fresh_letters.sql", "letters_1 WHERE txid = ANY", "letters_1 WHERE false AND txid = ANY"),
            ("fresh_letters.sql", "letters_2 WHERE txid = ANY", "letters_2 WHERE false AND txid = ANY"),
        ),
    ),
    "another reader is ignored": Plant(
        "a beat, or a renewal, that finds another reader ends the term",
        "projector.tail.letterbox:Letterbox.read",
        'if beat and head["reader"] != self._me:',
        "if False:",
        ("another_reader", "hidden_crash"),
        (
            ("projector.tail.letterbox:Letterbox.renew", "ring, lease_ms) is None:", "ring, lease_ms) is ...:"),
            (
                "renew.sql",
                'WHERE (SELECT last_value FROM "{schema}".reader) = $1::bigint',
                "WHERE $1::bigint IS NOT NULL",
            ),
        ),
    ),
    "a deposed reader empties": Plant(
        "only who reads now empties a table",
        "triggers.sql",
        ' OR (SELECT last_value FROM "{schema}".reader) <> me THEN',
        " THEN",
        ("another_reader",),
    ),
    "letters are emptied unread": Plant(
        "a table is emptied when its letters were read, all of them",
        "triggers.sql",
        "txid >= pg_snapshot_xmax($1)",
        "false",
        (),
        (("triggers.sql", "txid = ANY (ARRAY(SELECT pg_snapshot_xip($1)))", "false"),),
    ),
    "letters are looked at before the lock": Plant(
        "whether all was read is looked at after the lock",
        "triggers.sql",
        """    EXECUTE format('LOCK TABLE "{schema}".letters_%s IN ACCESS EXCLUSIVE MODE NOWAIT', turn);""",
        "    NULL;",
    ),
    "holders are listed first": Plant(
        "the holders are listed later than the counter is read",
        "projector.tail.reader:LetterReader.begin",
        "self._skips.count = await self.letterbox.begin()",
        "self._skips.holders = await self.letterbox.holders()\n    self._skips.count = await self.letterbox.begin()",
        ("lead_lost", "frozen", "dawdle"),
        (
            (
                "projector.tail.reader:LetterReader.begin",
                "self._skips.holders = await self.letterbox.holders()  # later than the counter was read",
                "pass",
            ),
        ),
    ),
    "the first reading continues the comparison's end": Plant(
        "the snapshot that the first reading continues is older than the comparison",
        "projector.term:Term._go",
        "await self._catch_up()",
        "await self._catch_up()\n    await self._reader.letterbox.begin_reading()",
        ("lead_lost",),
    ),
    "a term is told of before letters are read": Plant(
        "others hear of a term when what changes from then on is read",
        "projector.term:Term._begin",
        "holders = await self._reader.begin()  # before others hear of the term: what they read from then on is told of",
        "pass",
        ("lead_lost",),
        (
            (
                "projector.term:Term._begin",
                "stores.tail.server.database)",
                "stores.tail.server.database)\n    holders = await self._reader.begin()",
            ),
        ),
    ),
    "as-of moves before the comparison": Plant(
        "as-of moves after the comparison that skipped letters ask for",
        "projector.term:Term._read",
        "if await self._reader.in_doubt(reading):",
        "again, self._again = getattr(self, '_again', False), await self._reader.in_doubt(reading)\n    if again:",
        ("clock_set", "frozen"),
    ),
    "loads go on through skipped letters": Plant(
        "a load under way when letters were skipped starts over",
        "projector.term:Term._compare_again",
        "letters.look([*sessions.loading, *sessions.aside])",
        "letters.look(sessions.aside)",
        ("clock_set", "key_lost", "index_lost"),
    ),
    "cold sessions are not named": Plant(
        "when letters were skipped every session is named, for answers of cold ones are kept too",
        "projector.term:Term._compare_again",
        "letters.incomplete = True",
        "pass",
        ("clock_set",),
    ),
    "a skipped status is lost": Plant(
        "the comparison for skipped letters takes the statuses too",
        "projector.term:Term._compare_again",
        "letters.rows |= ",
        "_ = ",
        ("clock_set", "status"),
    ),
    "one table is read": Plant(
        "a reading reads all three tables, whichever is in use",
        "projector.tail.letterbox:Letterbox.read",
        'self._sql["quiet"]',
        '__import__("re").sub("letters_[0-2]", f"letters_{self.turn}", self._sql["quiet"])',
        ("dawdle",),
        (
            (
                "projector.tail.letterbox:Letterbox.read",
                'self._sql["busy"]',
                '__import__("re").sub("letters_[0-2]", f"letters_{self.turn}", self._sql["busy"])',
            ),
        ),
    ),
    "prepared transactions are no holders": Plant(
        "every prepared transaction is a holder: a crash keeps it and loses its letters",
        "holders.sql",
        "UNION\nSELECT 'prepared ' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()",
        "",
        ("crash", "prepare"),
    ),
}


@contextmanager
def planted(plant: Plant | None) -> Iterator[None]:
    """Plant a bug in Python and SQL for as long as the block lasts; in a script it is for whoever loads that."""
    with ExitStack() as stack:
        for place in sorted(plant.places) if plant else ():
            assert plant
            if place.endswith(".sql"):
                stack.enter_context(_sql(plant))
            elif not place.endswith(".lua"):
                stack.enter_context(_function(plant, place))
        yield


@contextmanager
def _sql(plant: Plant) -> Iterator[None]:
    def altered(name: str, **markers: str) -> str:
        text = plant.altered(f"{name}.sql", statement(name))
        for marker, value in markers.items():
            text = text.replace(f"{{{marker}}}", value)
        return text

    with (
        mock.patch("projector.tail.letterbox.statement", altered),
        mock.patch("projector.tail.triggers.statement", altered),
    ):
        yield


@contextmanager
def _function(plant: Plant, where: str) -> Iterator[None]:
    module_name, _, path = where.partition(":")
    module: Any = importlib.import_module(module_name)
    owner, _, name = path.rpartition(".")
    target = getattr(module, owner) if owner else module
    sound = getattr(target, name)
    text = plant.altered(where, textwrap.dedent(inspect.getsource(sound)))
    scope: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{text}", module.__dict__, scope)
    # Whoever imported a function by its name has it as well.
    holders = [target] if owner else [other for other in sys.modules.values() if vars(other).get(name) is sound]
    with ExitStack() as stack:
        for holder in holders:
            stack.enter_context(mock.patch.object(holder, name, scope[name]))
        yield
