"""The gate: keys by their digests, verdicts on tokens until they end, and what each may do."""

import asyncio
import hashlib
import time
from typing import NoReturn

import orjson
import pytest
from structlog.testing import capture_logs

from query_api.access import denials as denials_module
from query_api.access import gate as gate_module
from query_api.access.denials import Denial
from query_api.access.gate import Credential, Gate
from query_api.access.tokens import BadToken, Claims
from query_api.http.reply import Reply
from query_api.http.request_fields import RequestFields, wanted
from query_api.memory.staleness import Staleness
from tests.support.waiting import eventually

READER, OPERATOR = b"key-of-the-reader", b"key-of-the-operator"
SESSION, OTHER = "11111111-aaaa-4aaa-8aaa-000000000001", "11111111-aaaa-4aaa-8aaa-000000000002"
TOKEN = b"head.claims.signature"


class FakeTokens:
    """Believes `claims`, or raises it; counts how often it was asked."""

    def __init__(self, claims: Claims | BadToken) -> None:
        self.said = claims
        self.asked = self.failures = 0
        self.age_seconds = None

    def claims(self, token: bytes, now: float) -> Claims:
        del token, now
        self.asked += 1
        if isinstance(self.said, BadToken):
            raise self.said
        return self.said

    async def settled(self) -> None:
        """Nothing is awaited."""


def digest(key: bytes) -> bytes:
    """As keys are kept."""
    return hashlib.sha256(key).digest()


def gate_of(tokens: FakeTokens | None = None, polls_per_second: float | None = None) -> Gate:
    """One key for each scope."""
    keys = {digest(READER): ("r", frozenset({"read"})), digest(OPERATOR): ("o", frozenset({"ops"}))}
    return Gate(keys, tokens, polls_per_second)


def claims(*sessions: str, seconds: float = 60.0, subject: str | None = "someone") -> Claims:
    """What a token says that ends in so many seconds; of every session where none is named."""
    return Claims(subject, frozenset(sessions) if sessions else None, time.time() + seconds)


def shown(token: bytes = TOKEN) -> RequestFields:
    """The fields of a request with a token."""
    return wanted([(b"authorization", b"Bearer " + token)])


def let_in(gate: Gate, fields: RequestFields, now: float | None = None) -> Credential:
    """Who is let in."""
    found = gate.credential(fields, time.monotonic() if now is None else now)
    assert isinstance(found, Credential), found
    return found


def refused(gate: Gate, fields: RequestFields, now: float | None = None) -> Denial:
    """Who is not."""
    found = gate.credential(fields, time.monotonic() if now is None else now)
    assert isinstance(found, Denial)
    return found


def detail(reply: Reply) -> str:
    """The sentence of a refusal."""
    return str(orjson.loads(reply.body)["detail"])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x-api-key", READER)],
        [(b"x-api-key", b" " + READER + b"  \t")],
        [(b"authorization", b"Bearer " + READER)],
        [(b"authorization", b"bearer  " + READER + b" ")],
        [(b"x-api-key", READER), (b"authorization", b"Basic eHg=")],
    ],
)
def test_a_key_may_come_either_way(headers: list[tuple[bytes, bytes]]) -> None:
    """X-API-Key or Authorization: Bearer; blanks around it are no part of it."""
    assert let_in(gate_of(), wanted(headers)).principal.name == "r"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "no_key"),
        ([(b"x-api-key", b"")], "no_key"),
        ([(b"x-api-key", b"wrong")], "unknown_key"),
        ([(b"x-api-key", READER.upper())], "unknown_key"),
        ([(b"authorization", b"Bearer")], "no_key"),
        ([(b"authorization", b"Basic " + READER)], "no_key"),
        ([(b"x-api-key", b"wrong"), (b"authorization", b"Bearer " + READER)], "unknown_key"),
        ([(b"x-api-key", b"\xff")], "unknown_key"),
        ([(b"authorization", b"Bearer a.b.c")], "unknown_key"),
    ],
)
def test_no_key_or_a_wrong_one_is_401(headers: list[tuple[bytes, bytes]], reason: str) -> None:
    """It says what is asked for."""
    denial = refused(gate_of(), wanted(headers))

    assert (denial.reply.status, denial.reason) == (401, reason)
    assert dict(denial.reply.headers)[b"www-authenticate"].startswith(b"Bearer")
    assert detail(denial.reply) in {
        "The API key is not known.",
        "An API key is needed, as X-API-Key or as Authorization: Bearer.",
    }


@pytest.mark.parametrize(("name", "shown_as"), [(b"x-api-key", "X-API-Key"), (b"authorization", "Authorization")])
def test_two_keys_are_400(name: bytes, shown_as: str) -> None:
    """Which of them counts would be a guess; also where both are the same."""
    value = READER if name == b"x-api-key" else b"Bearer " + READER
    denial = refused(gate_of(), wanted([(name, value), (name, value)]))

    assert (denial.reply.status, denial.reason) == (400, "twice")
    assert detail(denial.reply) == f"{shown_as} came more than once; it may come once."


def test_a_key_may_hold_a_comma() -> None:
    """One key is not taken for two."""
    gate = Gate({digest(b"with, comma and: colon"): ("c", frozenset({"read"}))})

    assert let_in(gate, wanted([(b"x-api-key", b"with, comma and: colon")])).principal.name == "c"


@pytest.mark.parametrize(("key", "scope"), [(READER, "ops"), (OPERATOR, "read")])
def test_a_key_has_exactly_its_scopes(key: bytes, scope: str) -> None:
    """Ops does not imply read."""
    denial = let_in(gate_of(), wanted([(b"x-api-key", key)])).lacks(scope)

    assert denial is not None
    assert denial.reply.status == 403


def test_without_keys_everybody_may() -> None:
    """READSIDE_AUTH=none."""
    anybody = let_in(Gate(None), RequestFields())

    assert anybody.lacks("ops") is anybody.denies(SESSION, Staleness(0.0, explicit=True)) is None


def test_keys_are_replaced() -> None:
    """A key withdrawn is refused at once, though its fields were remembered; its name's counts go on."""
    gate, fields = gate_of(), wanted([(b"x-api-key", READER)])
    before = let_in(gate, fields)
    before.principal.takes(0.0)
    edition = gate.edition

    gate.replace_keys({digest(b"another-key-of-the-reader"): ("r", frozenset({"read"}))})

    assert gate.edition is not edition
    assert refused(gate, fields).reason == "unknown_key"
    assert let_in(gate, wanted([(b"x-api-key", b"another-key-of-the-reader")])).principal is before.principal


def test_keys_that_cannot_be_read_let_nobody_in() -> None:
    """Whatever fails while they are replaced: the gate stays shut."""

    class Broken(dict[bytes, tuple[str, frozenset[str]]]):
        def items(self) -> NoReturn:
            raise MemoryError

    gate = gate_of()
    with pytest.raises(MemoryError):
        gate.replace_keys(Broken())

    assert gate.asks
    assert refused(gate, wanted([])).reason == "no_key"


def test_a_token_is_judged_once() -> None:
    """Whatever other fields come with it: its signature costs more than the poll."""
    tokens = FakeTokens(claims())
    gate = gate_of(tokens)

    assert let_in(gate, shown()) is let_in(gate, shown())
    assert tokens.asked == 1


def test_a_verdict_ends_when_the_token_does() -> None:
    """Also that of fields that were remembered."""
    tokens = FakeTokens(claims(seconds=60))
    gate, fields, now = gate_of(tokens), shown(), time.monotonic()
    before = let_in(gate, fields, now)
    tokens.said = BadToken("expired", "The token has ended.")

    assert let_in(gate, fields, now + 59) is before
    assert refused(gate, fields, now + 61).reason == "token_expired"


def test_verdicts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that came first is forgotten first."""
    monkeypatch.setattr(gate_module, "MAX_VERDICTS", 2)
    tokens = FakeTokens(claims())
    gate = gate_of(tokens)

    for token in (b"a.a.a", b"b.b.b", b"c.c.c", b"b.b.b", b"a.a.a"):
        let_in(gate, shown(token))

    assert tokens.asked == 4


def test_tokens_that_ended_are_forgotten() -> None:
    """Whoever renews tokens leaves many of them; those that are good stay."""
    tokens = FakeTokens(claims(seconds=60))
    gate, now = gate_of(tokens), time.monotonic()
    let_in(gate, shown(b"a.a.a"), now)
    tokens.said = claims(seconds=600)
    let_in(gate, shown(b"b.b.b"), now)

    gate.forget_ended(now + 59)
    assert gate.verdicts == 2
    gate.forget_ended(now + 61)
    assert gate.verdicts == 1
    let_in(gate, shown(b"b.b.b"), now + 61)
    assert tokens.asked == 2


async def test_a_running_gate_forgets_tokens_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need show another one for it."""
    monkeypatch.setattr(gate_module, "CLOCK_SECONDS", 0.0)
    gate = gate_of(FakeTokens(claims(seconds=0.05)))
    let_in(gate, shown())
    running = asyncio.create_task(gate.run())
    await eventually(lambda: gate.verdicts == 0, "it is forgotten")
    running.cancel()


def test_tokens_are_judged_anew_when_the_keys_that_sign_them_change() -> None:
    """A verdict is only as good as the key behind it."""
    tokens = FakeTokens(claims())
    gate, fields = gate_of(tokens), shown()
    let_in(gate, fields)

    gate.reconsider()
    tokens.said = BadToken("signature", "The token's signature is wrong.")

    assert refused(gate, fields).reason == "token_signature"


def test_tokens_are_judged_anew_when_the_wall_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their ends are instants of that clock."""
    tokens = FakeTokens(claims())
    gate, fields = gate_of(tokens), shown()
    let_in(gate, fields)
    gate.check_clock()
    let_in(gate, fields)
    really = time.time
    monkeypatch.setattr(time, "time", lambda: really() + 3600)

    gate.check_clock()
    let_in(gate, fields)

    assert tokens.asked == 2


def test_tokens_are_judged_anew_when_the_wall_clock_creeps_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are small each come to hours."""
    tokens = FakeTokens(claims())
    gate, fields, really = gate_of(tokens), shown(), time.time
    let_in(gate, fields)

    for ahead in (0.8, 1.6):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: really() + ahead)
        gate.check_clock()
    let_in(gate, fields)

    assert tokens.asked == 2


async def test_a_running_gate_tells_of_who_fell_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need be refused for it once more."""
    monkeypatch.setattr(gate_module, "CLOCK_SECONDS", 0.0)
    monkeypatch.setattr(denials_module, "AUDIT_SECONDS", 0.05)
    gate = gate_of()
    with capture_logs() as logs:
        running = asyncio.create_task(gate.run())
        for _ in range(2):
            await gate.admit(wanted([]), "read", "10.0.0.1")
        await eventually(lambda: len(logs) == 2, "the second is told of, too")
        running.cancel()

    assert [line["refused"] for line in logs] == [{"no_key": 1}] * 2


def test_a_token_reads_the_sessions_that_it_names() -> None:
    """And says the same of all others."""
    token = let_in(gate_of(FakeTokens(claims(SESSION))), shown())
    denial = token.denies(OTHER)

    assert token.denies(SESSION) is None
    assert denial is not None
    assert (denial.reply.status, detail(denial.reply)) == (403, "The token does not name this session.")


@pytest.mark.parametrize(("seconds", "explicit", "may"), [(0.0, True, False), (0.99, True, False), (1.0, True, True)])
def test_a_token_asks_for_no_answer_fresher_than_a_second(seconds: float, explicit: bool, may: bool) -> None:
    """Each of those would be a query of Postgres."""
    token = let_in(gate_of(FakeTokens(claims())), shown())

    assert (token.denies(SESSION, Staleness(seconds, explicit=explicit)) is None) == may


def test_a_bound_of_our_own_is_no_wish_of_the_token() -> None:
    """READSIDE_MAX_STALENESS_SECONDS may be less than a second."""
    token = let_in(gate_of(FakeTokens(claims())), shown())

    assert token.denies(SESSION, Staleness(0.5, explicit=False)) is None


def test_a_token_has_no_scope_but_read() -> None:
    """`*` names every session, and no more than that."""
    token = let_in(gate_of(FakeTokens(claims())), shown())
    denial = token.lacks("ops")

    assert token.lacks("read") is None
    assert denial is not None
    assert detail(denial.reply) == "A token lacks the scope ops."


def test_a_token_is_no_api_key() -> None:
    """It comes as Authorization: Bearer alone: another header is not read for it."""
    tokens = FakeTokens(claims())

    assert refused(gate_of(tokens), wanted([(b"x-api-key", TOKEN)])).reason == "unknown_key"
    assert tokens.asked == 0


def test_a_token_that_was_let_in_is_no_api_key_either() -> None:
    """What is answered does not hang on what was asked before."""
    gate = gate_of(FakeTokens(claims()))
    let_in(gate, shown())

    assert refused(gate, wanted([(b"x-api-key", TOKEN)])).reason == "unknown_key"


def test_tokens_of_one_subject_are_one_principal() -> None:
    """A renewed token goes on where the one before stood; without a subject each is one of its own."""
    gate = gate_of(FakeTokens(claims()))
    nameless = gate_of(FakeTokens(claims(subject=None)))

    assert let_in(gate, shown(b"a.a.a")).principal is let_in(gate, shown(b"b.b.b")).principal
    assert let_in(nameless, shown(b"a.a.a")).principal is not let_in(nameless, shown(b"b.b.b")).principal


def test_a_token_without_a_subject_is_one_principal_however_its_signature_is_spelled() -> None:
    """The last character of base64url has bits that say nothing, and of an ES256 signature there are two."""
    gate = gate_of(FakeTokens(claims(subject=None)))

    assert let_in(gate, shown(b"a.a.AA")).principal is let_in(gate, shown(b"a.a.AB")).principal


async def test_a_request_that_is_no_poll_is_counted_too() -> None:
    """What is let in, and what is refused then."""
    gate = gate_of(polls_per_second=0.2)
    fields = wanted([(b"x-api-key", READER)])

    assert isinstance(await gate.admit(fields, "read", "127.0.0.1"), Credential)
    slow, stranger = await gate.admit(fields, "read", "127.0.0.1"), await gate.admit(wanted([]), "ops", "127.0.0.1")

    assert isinstance(slow, Reply)
    assert isinstance(stranger, Reply)
    assert (slow.status, dict(slow.headers)[b"retry-after"], stranger.status) == (429, b"5", 401)
    assert (gate.denials.counts["rate"], gate.denials.counts["no_key"]) == (1, 1)
    assert ("key", "r", 2, 1) in gate.principals.counts()


def test_a_token_is_not_to_blame_where_no_keys_could_be_read() -> None:
    """503: whoever holds it need not sign in again."""
    denial = refused(gate_of(FakeTokens(BadToken("no_keys", "No keys yet."))), shown())

    assert (denial.reply.status, detail(denial.reply)) == (503, "No keys yet. Try again in a second.")
    assert dict(denial.reply.headers)[b"retry-after"] == b"1"
