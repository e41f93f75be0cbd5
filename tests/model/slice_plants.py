"""Bugs to be planted against slices and hot standbys, one for each of their rules."""

from tests.model.planting import Plant

SLICE_PLANTS = {
    "a break of one slice leaves its answers": Plant(
        "a break in the numbers of a slice drops the answers of its sessions",
        "query_api.memory.response_cache:ResponseCache._break",
        "self._empty(stream)",
        "_ = len(self._streams) > 1 or self._empty(stream)",
        ("sliced", "subscription_lost", "delete", "status"),
    ),
    "answers have the as-of of another slice's beat": Plant(
        "an answer is as of its own slice's beat",
        "query_api.memory.response_cache:ResponseCache._find",
        "entry.freshness, entry.stream.beat",
        "entry.freshness, max(filter(None, self.beats), key=lambda beat: beat.as_of_us, default=None)",
        ("sliced", "node_away", "slot_moved"),
    ),
    "a slice joins the feed after it compared": Plant(
        "a slice is told of what is read from before its term began on",
        "projector.term:Term.run",
        "self._fed = self._feed.join(index, self._wake)",
        "self._fed = self._feed.join(index, self._wake)\n    self._feed._fed.pop(index)",
        ("sliced", "node_away"),
        (
            (
                "projector.term:Term._go",
                "await self._catch_up()",
                "await self._catch_up()\n    self._feed._fed[self._fed.index] = self._fed",
            ),
        ),
    ),
    "one slice alone hears of skipped letters": Plant(
        "when letters were skipped every slice is compared",
        "projector.feed:Feed._deliver",
        "part.incomplete = letters.incomplete",
        "part.incomplete = letters.incomplete and index == 0",
        ("sliced", "clock_set"),
    ),
    "a slice without letters hears of none that were skipped": Plant(
        "when letters were skipped every slice is compared, named in this reading or not",
        "projector.feed:Feed._deliver",
        "part.incomplete = letters.incomplete",
        "part.incomplete = letters.incomplete and bool(part)",
        ("sliced", "clock_set"),
    ),
    "too much that waits is forgotten": Plant(
        "a slice whose Redis took no batch for too long is compared",
        "projector.core.backlog:Backlog.put",
        "letters.incomplete = True",
        "letters.incomplete = False",
        ("sliced", "node_away", "add_many"),
    ),
    "the latest reading is in the place of what waits": Plant(
        "what waits for a slice is all that was read since it took something",
        "projector.core.backlog:Backlog.put",
        "letters.merge(later.letters)",
        "letters = later.letters",
        ("sliced", "node_away"),
    ),
    "a beat waits for nothing": Plant(
        "a slice has the as-of of a beat when all that it was fed before is applied",
        "projector.core.backlog:Backlog.take",
        "self._waiting or Delivery(Letters()), None",
        "self._waiting or Delivery(Letters()), None\n"
        "    if taken.beat and taken.letters.added and not getattr(self, '_late', None):\n"
        "        self._late, self._waiting = True, Delivery(taken.letters)\n"
        "        return Delivery(Letters(), taken.beat)\n"
        "    self._late = False",
        ("sliced",),
    ),
    "the messages of all slices are taken for those of one": Plant(
        "each slice has numbers of its own",
        "query_api.sources.subscription:Subscription.run",
        "self._index_of[channel]",
        "0",
        ("sliced",),
    ),
    "what ends one slice's term ends all": Plant(
        "a slice that is in doubt begins anew alone",
        "projector.slice_leader:SliceLeader.run",
        "self._ended(term, ended)",
        'raise __import__("projector.feed").feed.TermEnded(str(ended)) from ended',
        ("sliced", "spared", "old_dump", "position_lost", "flushed"),
    ),
    "one node that is away ends the lead": Plant(
        "a slice whose Redis is away waits for it alone",
        "projector.slice_leader:Away.note",
        "len(self._reasons) == self._slices",
        "self._reasons",
        ("sliced", "spared", "node_away"),
    ),
    "every slice is waited for": Plant(
        "a slice that works for long is not waited for",
        "projector.feed:Feed._kept_up",
        "if is_one_idle and patience <= 0:",
        "patience = 9.0 if busy else 0.0\n        if is_one_idle and patience <= 0:",
        ("sliced", "spared", "node_away"),
    ),
    "a standby's answer has the number heard last": Plant(
        "an answer of a standby has the number of the beat that it had passed",
        "query_api.sources.fallback:Fallback._send",
        "return _as_of_a_beat(logged, logged.proof)",
        "return _as_of_a_beat(logged, logged.proof)._replace(number=number)",
        ("standby", "standby_lags"),
        (("readside.replica_servers:build_replicas", "number=lambda _session_id: None,", "number=cache.number_of,"),),
    ),
    "a standby is believed to have passed every beat": Plant(
        "a standby's answer is as of a beat that it had passed",
        "query_api.sources.replicas:latest_passed",
        "if proof.wal.lsn <= replayed",
        "if replayed",
        ("standby", "standby_lags"),
    ),
}
