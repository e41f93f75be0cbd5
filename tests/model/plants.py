"""Bugs to be planted, each against one rule of the protocol."""

from tests.model.letter_plants import LETTER_PLANTS
from tests.model.planting import Plant
from tests.model.slice_plants import SLICE_PLANTS
from tests.model.stream_plants import STREAM_PLANTS

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
        "load.arrived |= {event_id",
        "_ = {event_id",
    ),
    "a look drops nothing": Plant(
        "a look drops the session first and loads it after",
        "projector.core.decide:_doubt",
        "plan.operations[session_id] = [Drop(session_id)]",
        "plan.operations.setdefault(session_id, [])",
    ),
    "a load is not registered before its snapshot": Plant(
        "a load is registered first, and its snapshot taken later: what is named from then on belongs to it",
        "projector.core.sessions:Sessions.hear",
        "for event_id in letters.added[session_id]}",
        "for event_id in letters.added[session_id] if load.outcome}",
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
        "truth is not None and header.holds(truth):",
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
        "projector.feed:Feed._judged",
        "changed = reading.fingerprint != self._fingerprint",
        "changed = False",
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
        ("key_lost", "add"),
    ),
    "an answer is stored whatever was dropped": Plant(
        "an answer from before the last drop of its session is not stored",
        "query_api.memory.response_cache:ResponseCache._is_current",
        "max(stream.floor, stream.dropped_at.get(session_id, 0))",
        "stream.floor",
        ("staging_lost", "replace"),
    ),
    "answers outlive a missed message": Plant(
        "a break in the numbers empties the cache",
        "query_api.memory.response_cache:ResponseCache.hear",
        " or change.n != heard.n + 1",
        "",
        ("subscription_lost",),
    ),
    "the newest instant outlives a message": Plant(
        "a message about a session drops what is known of its newest event",
        "query_api.memory.response_cache:ResponseCache._drop",
        "tuple(stream.keys_of.get(session_id, ()))",
        '[key for key in stream.keys_of.get(session_id, ()) if key != f"newest {session_id}"]',
        ("subscription_lost",),
    ),
    "what is known of the newest events reaches too far": Plant(
        "a poll is answered without a read when all that is later than its `since` is known, and only then",
        "query_api.memory.newest:Newest.__init__",
        "newest_us is None or whole",
        "newest_us is None or whole or scores",
        ("subscription_lost",),
    ),
    "an event is later than its own instant": Plant(
        "what is at `since` itself is not later, wherever the answer comes from",
        "query_api.memory.newest:Newest.answer",
        "bisect_left(self._negated, -poll.since_us)",
        "bisect_left(self._negated, 1 - poll.since_us)",
        ("subscription_lost",),
    ),
    "answers of one round trip are exchanged": Plant(
        "each poll of a round trip gets its own answer",
        "query_api.sources.view_reads:ViewReads._round_trip",
        "zip(load, answers, strict=True)",
        "zip(load, answers[::-1], strict=True)",
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
        "query_api.sources.fallback:Fallback._send",
        "if number is not None and number.database",
        "number = self._number(query.question.session_id)\n    if number is not None and number.database",
    ),
    **LETTER_PLANTS,
    **SLICE_PLANTS,
    **STREAM_PLANTS,
}
