"""What the listener heard and nobody has applied yet: collapses in place, so that it never grows past its bounds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from projector.core.letters import Letters

MAX_SESSIONS = 100_000
"""Distinct sessions waiting; past it the term ends and everything hot is compared."""
MAX_IDS = 100_000
"""Event ids waiting, all sessions together; past it the sessions with the most are looked at instead."""
MAX_IDS_OF_ONE = 1_000
"""Event ids waiting for one session; past it that session is looked at."""
MAX_OVERTAKEN = 1_000
"""Beats remembered that another overtook."""

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDED = re.compile(rf"a ({_SESSION.pattern})((?: [0-9a-f]{{32}})+)")
_INSTANT = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class HeardBeat:
    """A heartbeat that came back: its nonce, its instant (µs since 1970) and what the triggers looked like."""

    nonce: str
    as_of_us: int
    fingerprint: str


@dataclass(slots=True)
class Notices:
    """All that was heard since the last take: the letters, the last beat, and the nonces of beats that it overtook."""

    letters: Letters = field(default_factory=Letters)
    beat: HeardBeat | None = None
    overtaken: list[str] = field(default_factory=list)


class Backlog:
    """Notices by session, in place of a queue; `wake` is set when there is something to take."""

    def __init__(self, term: str, wake: asyncio.Event) -> None:
        self.ignored = 0
        self._term = term
        self._wake = wake
        self._ids = 0
        self._taken = Notices()

    def hear(self, payload: str) -> None:
        """Note one notice; a malformed one is counted and ignored: anybody may NOTIFY, and our triggers are watched."""
        added = _ADDED.fullmatch(payload)
        if added:
            self._hear_added(added[1], added[2].split())
            self._wake.set()
            return
        verb, *words = payload.split(" ")
        if verb == "b":
            self._hear_beat(words)
        elif verb == "x":
            self.end("a statement changed too much to name (TRUNCATE, or thousands of sessions at once)")
        elif verb in {"l", "r", "n"} and words and all(map(_SESSION.fullmatch, words)):
            self._hear_sessions(verb, words)
        else:
            self.ignored += 1
            return
        self._wake.set()

    def end(self, reason: str) -> None:
        """Note that nothing is known any more; all else is forgotten."""
        self._taken, self._ids = Notices(Letters(ended=self.ended or reason)), 0
        self._wake.set()

    @property
    def events(self) -> int:
        """How many event ids wait."""
        return self._ids

    @property
    def ended(self) -> str | None:
        """Why nothing is known any more, or None."""
        return self._taken.letters.ended

    def take(self) -> Notices:
        """Hand over all that was heard and begin anew."""
        taken, self._taken, self._ids = self._taken, Notices(), 0
        return taken

    def _hear_beat(self, words: list[str]) -> None:
        # Another deployment's beats travel on the same channel.
        if len(words) == 4 and words[0] == self._term and _INSTANT.fullmatch(words[2]):
            if self._taken.beat is not None and len(self._taken.overtaken) < MAX_OVERTAKEN:
                self._taken.overtaken.append(self._taken.beat.nonce)
            self._taken.beat = HeardBeat(words[1], int(words[2]), words[3])

    def _hear_added(self, session: str, ids: list[str]) -> None:
        letters = self._taken.letters
        if session in letters.looks:
            return
        waiting = letters.added.setdefault(session, {})
        before = len(waiting)
        waiting.update(dict.fromkeys(ids))
        self._ids += len(waiting) - before
        if len(waiting) > MAX_IDS_OF_ONE:
            self._look(session)
        if self._ids > MAX_IDS:
            self._make_room()
        self._check_sessions()

    def _make_room(self) -> None:
        """Give up a tenth of the ids, the largest sessions' first; so all are looked through once in many notices."""
        added = self._taken.letters.added
        for session in sorted(added, key=lambda session: len(added[session]), reverse=True):
            if self._ids <= MAX_IDS - MAX_IDS // 10:
                break
            self._look(session)

    def _hear_sessions(self, verb: str, sessions: list[str]) -> None:
        if verb == "l":
            for session in sessions:
                self._look(session)
        elif verb == "r":
            self._taken.letters.rows.update(sessions)
        else:
            self._taken.letters.created.update(dict.fromkeys(sessions))
        self._check_sessions()

    def _look(self, session: str) -> None:
        self._ids -= len(self._taken.letters.added.pop(session, ()))
        self._taken.letters.looks.add(session)

    def _check_sessions(self) -> None:
        letters = self._taken.letters
        if len(letters.added) + len(letters.looks) + len(letters.rows) + len(letters.created) > MAX_SESSIONS:
            self.end(f"more than {MAX_SESSIONS} sessions changed before they could be looked at")
