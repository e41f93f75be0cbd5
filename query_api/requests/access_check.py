"""Who may read what a session has: asked when a request comes in, and again of those that are held."""

from __future__ import annotations

import time

from query_api.access.denials import Denial
from query_api.access.gate import Gate
from query_api.http.problems import problem_of
from query_api.http.reply import Reply
from query_api.memory.staleness import Staleness
from query_api.requests.session_request import SessionRequest
from query_api.requests.stats import SourceStats
from query_api.requests.waiter import Conclusion
from readmodel.errors import InvalidParameter

_METHODS = frozenset({"GET", "HEAD"})


class AccessCheck:
    """The check of one endpoint. `usual` is how fresh an answer must be where a request does not say it.

    `wrong_method` answers requests that are no read; `refusals` counts the others that are refused.
    """

    def __init__(self, gate: Gate, usual: Staleness, wrong_method: Reply, refusals: SourceStats) -> None:
        self._gate = gate
        self._usual = usual
        self._wrong_method = wrong_method
        self._refusals = refusals

    def holds(self, question: SessionRequest, now: float) -> bool:
        """Whether what was found of a question that was let in is so still. `now` is monotonic seconds."""
        return question.edition is self._gate.edition and now < question.until

    def refusal(self, question: SessionRequest, now: float) -> Reply | Denial | None:
        """Let a question in, and parse it unless that was done; None where it may be answered."""
        if self.holds(question, now):
            return None if question.principal.takes(now) else self._gate.slow_down(question.principal)
        return self._judged(question, now) if question.method in _METHODS else self._wrong_method

    def _judged(self, question: SessionRequest, now: float) -> Reply | Denial | None:
        edition = self._gate.edition
        credential = self._gate.credential(question.fields, now)
        if isinstance(credential, Denial):
            return credential
        principal = credential.principal
        if not principal.takes(now):
            return self._gate.slow_down(principal)
        denial = credential.lacks("read")
        if denial is not None:
            return denial
        try:
            session_id = question.parse(self._usual)
        except InvalidParameter as error:
            return problem_of(error)
        denial = credential.denies(session_id, question.wanted)
        if denial is None:
            question.principal, question.asked_session = principal, session_id
            question.edition, question.until = edition, credential.until
        return denial

    def refused(self, refusal: Reply | Denial, address: str, since: float) -> Reply:
        """Take down a refusal of who came at the monotonic second `since`, and give what is answered."""
        reply = self._gate.denied(refusal, address) if isinstance(refusal, Denial) else refusal
        if reply is not self._wrong_method:
            self._refusals.poll(reply.status, time.monotonic() - since)
        return reply

    def again(self, question: SessionRequest, now: float, address: str) -> Conclusion | None:
        """Refuse what was let in and is held, if its token has ended or its key may no longer ask."""
        if self.holds(question, now):
            return None
        is_ended = now >= question.until
        edition, credential = self._gate.edition, self._gate.credential(question.fields, now)
        denial = credential if isinstance(credential, Denial) else credential.lacks("read")
        if denial is None and not isinstance(credential, Denial):
            denial = credential.denies(question.asked_session, question.wanted)
            question.edition, question.until = edition, credential.until
        if denial is None:
            return None
        question.edition = None  # whoever asks it again is judged anew
        return Conclusion("token_ended" if is_ended else "withdrawn", self.refused(denial, address, now))
