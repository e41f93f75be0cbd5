"""The packed entries of the type index: their byte order is (type, timestamp, id) order."""

from hypothesis import example, given
from hypothesis import strategies as st

from readmodel.event import SCORE_BOUND, index_member, index_range, is_askable, type_code

KNOWN = [
    "session_created", "status_changed", "step_created", "step_status_changed", "artifact_created",
    "workflow_started", "workflow_resumed", "workflow_paused", "workflow_completed", "workflow_failed",
    "workflow_error",
]  # fmt: skip
ASKABLE = st.one_of(
    st.sampled_from(KNOWN),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=100),
    st.text(alphabet="a_", min_size=1, max_size=4),
)
ANY_TYPE = st.one_of(ASKABLE, st.text(max_size=100))
SCORES = st.one_of(
    st.integers(-(SCORE_BOUND - 1), SCORE_BOUND - 1),
    st.integers(-3, 3),
    st.sampled_from([-(SCORE_BOUND - 1), SCORE_BOUND - 1, 255, 256, -256, 2**32, 2**32 - 1]),
)
IDS = st.one_of(st.binary(min_size=16, max_size=16), st.sampled_from([b"\0" * 16, b"\xff" * 16]))
ENTRIES = st.tuples(ASKABLE, SCORES, IDS)


@given(entries=st.lists(ENTRIES, max_size=30))
def test_byte_order_is_timestamp_and_id_order_within_a_type(entries: list[tuple[str, int, bytes]]) -> None:
    """Sorted as bytes, each type's entries stand together, by timestamp and then by id."""
    packed = {index_member(*entry): entry for entry in entries}
    in_order = [packed[member] for member in sorted(packed)]
    blocks = [event_type for place, (event_type, *_) in enumerate(in_order) if in_order[place - 1][0] != event_type]

    assert len(packed) == len(set(entries))
    for name in {event_type for event_type, *_ in entries}:
        of_type = [entry for entry in in_order if entry[0] == name]
        assert of_type == sorted(of_type)
        assert blocks.count(name) <= 1


@given(one=ANY_TYPE, other=ANY_TYPE)
@example(one="a", other="aa")
@example(one="a", other="a_")
def test_no_code_is_a_prefix_of_another(one: str, other: str) -> None:
    """Else the entries of one type would be found under another."""
    if type_code(one) != type_code(other):
        assert not type_code(one).startswith(type_code(other))
    if is_askable(one) and is_askable(other):
        assert (type_code(one) == type_code(other)) == (one == other)


@given(entry=ENTRIES, asked=ASKABLE, since_us=st.one_of(st.none(), SCORES, st.integers(-(2**70), 2**70)))
def test_a_range_holds_its_type_after_since_and_nothing_else(
    entry: tuple[str, int, bytes], asked: str, since_us: int | None
) -> None:
    """The ZLEXCOUNT bounds of a type take in exactly its entries later than `since`."""
    event_type, score, _ = entry
    low, high = index_range(asked, since_us)
    member = index_member(*entry)

    assert low[:1] == high[:1] == b"["
    assert (low[1:] <= member <= high[1:]) == (event_type == asked and (since_us is None or score > since_us))


@given(event_type=ANY_TYPE, score=SCORES, event_id=IDS)
def test_score_and_id_can_be_read_back(event_type: str, score: int, event_id: bytes) -> None:
    """The last 24 bytes are the timestamp and the id, whatever the type."""
    member = index_member(event_type, score, event_id)

    assert int.from_bytes(member[-24:-16], "big") - SCORE_BOUND == score
    assert member[-16:] == event_id


def test_types_that_no_poll_can_name_share_a_code() -> None:
    """They have an entry each, and never one under a type that can be asked for."""
    odd = ["", "Step", "a b", "a\0", "é", "x" * 101]

    assert len({type_code(name) for name in odd}) == 1
    assert not any(type_code(known).startswith(type_code(odd[0])) for known in KNOWN)


def test_known_types_cost_one_byte() -> None:
    """The taxonomy's types, which nearly all events have. A code must never change: views hold it."""
    assert [type_code(name) for name in KNOWN] == [bytes([number]) for number in range(1, 12)]
