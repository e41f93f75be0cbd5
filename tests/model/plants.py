"""Bugs to be planted, each against one rule of the protocol: a few words of the project's own source are replaced."""

import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Plant:
    """`where` is a script, or `module:function` or `module:Class.method`; `old` stands there and becomes `new`.

    `under` names the faults, and what writers do, that the rule is for; none: any. `also` is a second pair of words to
    be replaced.
    """

    rule: str
    where: str
    old: str
    new: str
    under: tuple[str, ...] = ()
    also: tuple[str, str] | None = None

    def in_script(self, name: str, text: str) -> str:
        """Give a script's text with the bug, if it belongs there."""
        return _replaced(text, self) if self.where == f"{name}.lua" else text


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
        ("old_dump", "listen_lost"),
        ("if tonumber(at[2]) ~= tonumber(n) - 1 then", "if at[1] == term and tonumber(at[2]) ~= tonumber(n) - 1 then"),
    ),
    "a batch is forgotten after a lost reply": Plant(
        "after a lost reply the very same batch is sent again",
        "projector.view.committer:Committer._send",
        "unanswered = True\n",
        "unanswered = True\n            return BatchResult()\n",
        ("outage", "replace", "status"),
    ),
    "the beat goes with the first part": Plant(
        "as-of moves when all that the notices asked is applied",
        "projector.view.committer:Committer.commit",
        "beat if last else None",
        "beat if part is parts[0] else None",
        ("subscription_lost",),
    ),
    "only what changed is named": Plant(
        "a message names every session of the notices, hot or not",
        "projector.view.committer:Committer.commit",
        "said += unsaid if last else ()",
        "said += ()",
    ),
    "what arrives during a load is forgotten": Plant(
        "events that are named while a session is loaded belong to it",
        "projector.loads.loads:Loads.note",
        "load.arrived |= ids",
        "pass",
    ),
    "a look drops nothing": Plant(
        "a look drops the session first and loads it after",
        "projector.live:Live._look",
        "operations[session_id] = [drop(session_id)]",
        "pass",
    ),
    "a load is not registered before its snapshot": Plant(
        "a load is registered first, and its snapshot taken later: what is named from then on belongs to it",
        "projector.loads.loads:Loads.note",
        "load = self._loads.get(session_id)",
        "load = self._loads.get(session_id)\n        load = load if load and load.outcome else None",
        ("key_lost", "index_lost"),
    ),
    "a look during a load is ignored": Plant(
        "a look while a session is loaded starts the load over",
        "projector.live:Live._look",
        "self._loads.restart(session_id)",
        "pass",
        ("index_lost", "key_lost"),
    ),
    "catching up counts and does not compare": Plant(
        "a session is stamped when its ids are Postgres' ids",
        "projector.catch_up:judge",
        "truth is not None and equal(header, truth):",
        "truth is not None and header.complete and header.count == truth.count:\n"
        "            truth = Truth(truth.status, truth.count, header.hi, header.lo)",
        ("listen_lost", "replace"),
    ),
    "a status is not compared": Plant(
        "a session that is stamped gets the status that Postgres says",
        "projector.catch_up:judge",
        "if header.status != truth.status:",
        "if False:",
        ("listen_lost", "status"),
    ),
    "changed triggers go on": Plant(
        "a beat with another fingerprint ends the term",
        "projector.term:Term._accept",
        "if beat.fingerprint != self._fingerprint:",
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
        ("index_lost", "listen_lost"),
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
}


@contextmanager
def planted(plant: Plant | None) -> Iterator[None]:
    """Plant a bug in Python for as long as the block lasts; in a script it is for whoever loads that."""
    with nullcontext() if plant is None or plant.where.endswith(".lua") else _function(plant):
        yield


@contextmanager
def _function(plant: Plant) -> Iterator[None]:
    module_name, _, path = plant.where.partition(":")
    module: Any = importlib.import_module(module_name)
    owner, _, name = path.rpartition(".")
    target = getattr(module, owner) if owner else module
    text = _replaced(textwrap.dedent(inspect.getsource(getattr(target, name))), plant)
    scope: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{text}", module.__dict__, scope)
    with mock.patch.object(target, name, scope[name]):
        yield


def _replaced(text: str, plant: Plant) -> str:
    for old, new in ((plant.old, plant.new), *([plant.also] if plant.also else ())):
        assert text.count(old) == 1, f"{plant.where} has changed: say anew how to break the rule that {plant.rule}"
        text = text.replace(old, new)
    return text
