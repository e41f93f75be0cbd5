"""What the processes say to one another: what is written is read, and hostile bytes are nothing."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmodel.values.messages import (
    Change,
    ProjectorReply,
    ProjectorRequest,
    decode_change,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from readmodel.values.wal import WalPosition

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
VERBS = st.sampled_from(["warm", "rebuild", "repair", "touch"])


def test_a_change_with_a_beat() -> None:
    """As the script writes it: database, term, number, as-of, round trip, instant, sessions."""
    assert decode_change(b"7/16 t 7 1768314600000000 1500 1768314600001500 a b") == Change(
        "t", 7, 1_768_314_600_000_000, 1500, ("a", "b"), 1_768_314_600_001_500, "7/16"
    )


def test_a_change_without_a_beat() -> None:
    """As-of did not move; nobody was named, or everybody."""
    assert decode_change(b"d t 0 - - 5 ") == Change("t", 0, None, None, (), 5, "d")
    assert decode_change(b"d t 0 - - 5 *") == Change("t", 0, None, None, ("*",), 5, "d")


@pytest.mark.parametrize(("end", "sessions"), [(b"", ()), (b"a b ", ("a", "b")), (b"* ", ("*",))])
def test_a_beat_brings_how_far_the_log_had_come(end: bytes, sessions: tuple[str, ...]) -> None:
    """One more entry, behind the sessions: whoever knows none takes it for a session."""
    change = decode_change(b"d t 7 9 9 5 " + end + b"@1f/16b3748")

    assert change == Change("t", 7, 9, 9, sessions, 5, "d", WalPosition(0x1F, 0x16B3748))


@pytest.mark.parametrize("wal", [b"@", b"@1", b"@1/", b"@/5", b"@1/2/3", b"@-1/5", b"@1/-5", b"@g/5", b"@123456789/5"])
def test_a_position_that_cannot_be_read_is_none(wal: bytes) -> None:
    """The rest of the message counts; no standby can be held against it."""
    assert decode_change(b"d t 7 9 9 5 a " + wal) == Change("t", 7, 9, 9, ("a",), 5, "d")


@pytest.mark.parametrize(
    "data", [b"", b" ", b"    ", b"d", b"d t x - - 5 a", b"d t 1 x - 5 a", b"d t 1 - x 5 a", b"d t 1 - - x a",
             b"d t 1 - -", b"\xff\xfe \0", b"d t 1.0 - - 5", b"d t 0x1 - - 5", "d t ½ - - 5".encode(), b"9" * 10_000]
)  # fmt: skip
def test_a_change_of_others_is_nothing(data: bytes) -> None:
    """Anybody may publish on our channel."""
    assert decode_change(data) is None


@pytest.mark.parametrize("data", [b"t 0 - - 5 ", b"t 7 9 9 5 ", b"t 7 9 9 5 11111111-1111-4111-8111-111111111111"])
def test_a_change_that_names_no_database_is_nothing(data: bytes) -> None:
    """Nobody could tell whether it is about the view of ours."""
    assert decode_change(data) is None


@given(data=st.binary(max_size=100))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    """Neither a change nor a request ever raises."""
    assert decode_change(data) is None or data.count(b" ") >= 5
    assert decode_request(data) is None or data.startswith(b"{")


@given(raw=JSON)
def test_no_json_breaks_a_request(raw: object) -> None:
    """JSON of another shape is nothing."""
    assert decode_request(orjson.dumps(raw, option=orjson.OPT_PASSTHROUGH_SUBCLASS)) is None


@given(verb=st.one_of(VERBS, JSON), sessions=JSON, everything=JSON, reply=JSON, name=JSON)
def test_a_request_with_hostile_fields_is_read_or_refused(
    verb: object, sessions: object, everything: object, reply: object, name: object
) -> None:
    """The right fields with anything in them never raise, and give the types that are promised."""
    raw = {"verb": verb, "sessions": sessions, "everything": everything, "reply": reply, "id": name}
    request = decode_request(orjson.dumps(raw))

    if request is not None:
        assert request.verb in {"warm", "rebuild", "repair", "touch"}
        assert all(isinstance(session, str) for session in request.sessions)
        assert isinstance(request.id, str)


@given(verb=VERBS, sessions=st.lists(st.uuids().map(str), max_size=5), everything=st.booleans(), reply=st.booleans())
def test_a_request_comes_through(verb: str, sessions: list[str], everything: bool, reply: bool) -> None:
    """What is written is read."""
    request = ProjectorRequest(verb, tuple(sessions), everything, reply)  # type: ignore[arg-type]

    assert decode_request(encode_request(request)) == request


def test_requests_have_ids_of_their_own() -> None:
    """Replies are told apart by them."""
    assert ProjectorRequest("warm").id != ProjectorRequest("warm").id


def test_a_reply_comes_through() -> None:
    """What is written is read."""
    reply = ProjectorReply("x", "progress", 3, 5, {"a": "hot", "b": "set_aside"}, "no detail")

    assert decode_reply(encode_reply(reply)) == reply
