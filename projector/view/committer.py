"""Numbering a term's batches and sending each until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection

from projector.core.letters import Beat
from projector.core.operations import MAX_NAMED, Add, Drop, Operations, Put, changes, cut
from projector.view.writer import BatchResult, StagingLost, TermRefused, ViewWriter, names
from readmodel.errors import ViewFull, ViewUnavailable
from readmodel.runtime import tracing
from readmodel.runtime.backoff import delays

RESIGN_SECONDS = 15.0
"""A leader that cannot write Redis for so long resigns: another may reach it."""

TOLD_SECONDS = 0.5
"""A batch that waits for longer is told of: what heals sooner is nobody's business."""


class Committer:
    """Sends batch after batch of one term. `n` is the number of the last one that was answered.

    `tell` is told why a batch waits, again and again while it does, and None when it is through.
    """

    def __init__(
        self,
        writer: ViewWriter,
        term: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        tell: Callable[[ViewUnavailable | None], None] = lambda _why: None,
    ) -> None:
        self.term = term
        self._tell = tell
        self._told = False
        self.n = 0
        self._writer = writer
        self._clock = clock
        self._sleep = sleep

    async def commit(
        self, operations: Operations, named: Collection[str] = (), beat: Beat | None = None
    ) -> list[tuple[Operations, BatchResult]]:
        """Apply operations by session and publish; give each part that was sent with what the script found.

        `named` are the sessions that letters named, operations or not; the beat goes with the last part, when all
        before it is applied. Raises TermRefused,
        ViewUnavailable after RESIGN_SECONDS, AccessRefused, ForeignView.
        """
        parts = list(cut(operations))
        unsaid = [session_id for session_id in named if not changes(operations.get(session_id, ()))]
        results = []
        for part in parts:
            last = part is parts[-1]
            said = [session_id for session_id, wanted in part.items() if changes(wanted)]
            said += unsaid if last else ()
            with tracing.span("batch", term=self.term, n=self.n + 1, sessions=len(part), named=len(said)) as span:
                applied = await self._send(part, said, beat if last else None)
                span.note(beat=last and beat is not None, cold=len(applied.cold), again=applied.again)
            results.append((part, applied))
        return results

    async def _send(self, part: Operations, named: list[str], beat: Beat | None) -> BatchResult:
        began, pauses = self._clock(), delays(0.05, 1.0)
        number = self.n + 1
        unanswered = changed = full = False
        while True:
            operations = [operation for wanted in part.values() for operation in wanted]
            try:
                applied = await self._writer.apply(
                    self.term,
                    number,
                    operations,
                    names(named, MAX_NAMED),
                    as_of_us=beat.as_of_us if beat else None,
                    wal=beat.wal if beat else "",
                    round_trip_us=int((self._clock() - beat.sent_at) * 1_000_000) if beat else None,
                    though_full=full,
                )
            except StagingLost as lost:
                # Nothing was applied. The session's new events go with it, so its old view must go too.
                part[lost.session_id] = [Drop(lost.session_id)]
                changed = True
            except ViewFull:
                if full:
                    raise
                full, changed = True, _shed(part) or changed
            except ViewUnavailable as why:
                unanswered = True
                self._wait(why, self._clock() - began)
                await self._sleep(next(pauses))
            else:
                if applied.again and unanswered and changed:
                    raise TermRefused("a batch was changed after a try that nobody answered; one of the two is applied")
                self.n = number
                self._through()
                return applied

    def _wait(self, why: ViewUnavailable, waited: float) -> None:
        if waited > RESIGN_SECONDS:
            raise why
        if waited > TOLD_SECONDS:
            self._told = True
            self._tell(why)

    def _through(self) -> None:
        if self._told:
            self._told = False
            self._tell(None)


def _shed(part: Operations) -> bool:
    """Drop the sessions that a full Redis cannot take events of: they go cold, and the rest stay fresh."""
    growing = [sid for sid, wanted in part.items() if any(isinstance(operation, Put | Add) for operation in wanted)]
    part.update((session_id, [Drop(session_id)]) for session_id in growing)
    return bool(growing)
