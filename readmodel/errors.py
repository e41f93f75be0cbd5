"""Every error that readside raises on purpose.

ReadsideError                 one sentence for whoever reads it: on stderr, in a log line, in a problem's detail
├── ConfigurationError        a setting is wrong or missing
├── InvalidParameter          a poll asks something that cannot be asked (names the parameter)
├── OffsetGone                a stream cannot be continued from an offset (says why)
├── AnswerTooLarge            a page is longer than the bound (names the limit that would fit)
├── Overload                  a bound is reached; try again later
│   └── NoPlaceFree           … that of held polls
├── DemoError                 the demo cannot start or go on
├── StoreUnavailable          a store does not answer now, and may later
│   ├── EventLogUnavailable   Postgres
│   │   ├── QueryTooSlow      … gave no answer within a query's time, though it may answer others
│   │   ├── TableLocked       … has the tables locked by somebody, as a migration does
│   │   ├── DiskFull          … has no space left to do it
│   │   ├── ServerInRecovery  … is a standby: it neither listens nor is the truth
│   │   ├── StandbyUnfit      … is no standby that may answer: it lags, was promoted, or replays another log
│   │   ├── BeatNotPassed     … is a standby that has passed no beat yet that this poll could be answered as of
│   │   └── RecoveryConflict  … is a standby that ended a query, since replay had to go on
│   └── ViewUnavailable       Redis
│       └── ViewFull          … has no memory left for us
├── StoreRefused              a store answers, and will not serve us until somebody mends something
│   ├── AccessRefused         wrong password, wrong database, a right that is missing to connect, no trusted certificate
│   ├── SchemaMissing         the write side's tables are not there, or not as the contract says
│   ├── RightsMissing         our role may not do what it must
│   │   └── StreamRightsMissing  … for streams, though polls are answered
│   ├── NotInstalled          our triggers are missing, disabled or altered
│   ├── PoolerInTheWay        LISTEN goes through a transaction pooler
│   └── ForeignView           our keys hold other data, or another database's view
├── BadEvents                 rows of the event log that cannot be read or encoded (names the event where it is known)
└── NoLeader                  no leading projector answered a request
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

UnfitState = Literal["lagging", "promoted", "another_cluster", "another_timeline"]
"""Why a server that answers is no hot standby that may answer polls."""


class ServiceError(Exception):
    """Base of all; `str(error)` is one full sentence without secrets."""


class ConfigurationError(ServiceError):
    """A setting is wrong or missing; the sentence names it."""


class InvalidParameter(ServiceError):
    """A poll's parameter is not acceptable.

    `parameter` is its name as the caller wrote it, shortened where it is none of ours; the sentence says what it
    accepts. `others` are wrong beside it.
    """

    def __init__(self, parameter: str, sentence: str, others: Sequence[InvalidParameter] = ()) -> None:
        super().__init__(sentence)
        self.parameter = parameter
        self.others = others

    @classmethod
    def all_of(cls, errors: Sequence[InvalidParameter]) -> InvalidParameter:
        """Join several into one."""
        first, *others = errors
        return cls(first.parameter, str(first), others)


class OffsetGone(ServiceError):
    """A stream cannot be continued from an offset; `why` ends the sentence."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The stream cannot be continued from this offset ({why}): read again from offset -1.")


class AnswerTooLarge(ServiceError):
    """A page would be longer than the bound; `fitting_limit` is the largest `limit` that fits (0: not even one)."""

    def __init__(self, fitting_limit: int, bound_bytes: int) -> None:
        bound = f"{bound_bytes / 1_000_000:g} MB"
        advice = (
            f"limit={fitting_limit} would fit."
            if fitting_limit
            else "not even one event fits; READSIDE_MAX_ANSWER_MB sets the bound."
        )
        super().__init__(f"The answer would be longer than {bound}: {advice}")
        self.fitting_limit = fitting_limit


class Overload(ServiceError):
    """A bound is reached; `retry_after_seconds` is when it is worth trying again."""

    def __init__(self, sentence: str, retry_after_seconds: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class NoPlaceFree(Overload):
    """As many polls are held as may be."""

    def __init__(self) -> None:
        super().__init__("As many polls are held as this process may hold; try again in a second, or without waiting.")


class DemoError(ServiceError):
    """The demo cannot start or go on."""


class StoreUnavailable(ServiceError):
    """A store does not answer now, and may later: retry with backoff, or exit where nobody waits."""


class EventLogUnavailable(StoreUnavailable):
    """Postgres does not answer."""


class QueryTooSlow(EventLogUnavailable):
    """Postgres did not answer one query within its time; a connection it gave us, so it may answer others."""


class TableLocked(EventLogUnavailable):
    """Somebody holds a lock on the tables that readers wait for."""


class DiskFull(EventLogUnavailable):
    """Postgres has no space left on its disk for what a statement needs; it may answer others."""


class ServerInRecovery(EventLogUnavailable):
    """Postgres answers, as a standby: readside needs the primary."""


class StandbyUnfit(EventLogUnavailable):
    """A server that was named as a hot standby may not answer now; `state` says why in a word."""

    def __init__(self, state: UnfitState, sentence: str) -> None:
        super().__init__(sentence)
        self.state = state


class BeatNotPassed(EventLogUnavailable):
    """A hot standby has not passed any beat that is known of a session's slice; it may answer for others."""


class RecoveryConflict(EventLogUnavailable):
    """A hot standby ended a query since replay had to go on; it may answer others."""


class ViewUnavailable(StoreUnavailable):
    """Redis does not answer, or refuses commands for now (loading, busy, out of memory, read-only)."""


class ViewFull(ViewUnavailable):
    """Redis has reached its maxmemory and evicts nothing: it takes no new data, and lets us delete."""


class StoreRefused(ServiceError):
    """A store answers and will not serve us until somebody mends something."""


class AccessRefused(StoreRefused):
    """Wrong password, wrong database, no right to connect, or a server whose certificate cannot be trusted."""


class SchemaMissing(StoreRefused):
    """The write side's tables are not there, or not as the contract says."""


class RightsMissing(StoreRefused):
    """Our role may not do what it must; the sentence names the right."""


class StreamRightsMissing(RightsMissing):
    """What only streams need is missing, or our role may not use it; polls are answered."""


class NotInstalled(StoreRefused):
    """Our triggers are missing, disabled or altered; the sentence says how to mend it."""


class PoolerInTheWay(StoreRefused):
    """The listening connection goes through a transaction pooler; set READSIDE_LISTEN_URL."""


class ForeignView(StoreRefused):
    """Our keys hold other data, or the moving view of another database."""


class BadEvents(ServiceError):
    """Rows of the event log that cannot be read or encoded; other rows can."""


class NoLeader(ServiceError):
    """No leading projector answered a request in time."""
