"""The packed type index: the byte order of entries is (timestamp, id) order, and what is not whole is not read."""

from hypothesis import given
from hypothesis import strategies as st

from readmodel.values.event import SCORE_BOUND, is_askable, type_name
from readmodel.view.type_index import CHUNK_ENTRIES, ENTRY_BYTES, pack_entry, pack_index, unpack_index, unpack_score

SCORES = st.one_of(
    st.integers(-(SCORE_BOUND - 1), SCORE_BOUND - 1),
    st.integers(-3, 3),
    st.sampled_from([-(SCORE_BOUND - 1), SCORE_BOUND - 1, 255, 256, -256, 2**32, 2**32 - 1]),
)
IDS = st.one_of(st.binary(min_size=16, max_size=16), st.sampled_from([b"\0" * 16, b"\xff" * 16]))
ENTRIES = st.lists(st.tuples(SCORES, IDS), max_size=3 * CHUNK_ENTRIES, unique=True)
NAMES = st.sampled_from(["", "a", "aa", "step_created"])


@given(entries=ENTRIES)
def test_byte_order_is_timestamp_and_id_order(entries: list[tuple[int, bytes]]) -> None:
    """Sorted as bytes, entries stand by timestamp and then by id, and both can be read back."""
    packed = sorted(pack_entry(*entry) for entry in entries)

    assert [(unpack_score(entry), entry[8:]) for entry in packed] == sorted(entries)
    assert {len(entry) for entry in packed} <= {ENTRY_BYTES}


def _stored(fields: dict[str, bytes | int]) -> dict[bytes, bytes]:
    return {name.encode(): value if isinstance(value, bytes) else b"%d" % value for name, value in fields.items()}


@given(by_type=st.dictionaries(NAMES, ENTRIES.filter(bool)))
def test_an_index_can_be_read_back(by_type: dict[str, list[tuple[int, bytes]]]) -> None:
    """Whatever the types and however many chunks."""
    entries = {name: sorted(pack_entry(*entry) for entry in listed) for name, listed in by_type.items()}

    wanted = frozenset((name, entry) for name, listed in entries.items() for entry in listed)
    assert unpack_index(_stored(pack_index(entries))) == wanted


@given(entries=ENTRIES.filter(lambda entries: len(entries) > 1), data=st.data())
def test_an_index_that_contradicts_itself_is_none(entries: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """A field too many or too few, another number, entries out of order."""
    fields = _stored(pack_index({"a": sorted(pack_entry(*entry) for entry in entries)}))
    field = data.draw(st.sampled_from(sorted(fields)))
    without = {name: value for name, value in fields.items() if name != field}

    assert unpack_index(without) is None
    assert unpack_index({**fields, b"a/99": bytes(ENTRY_BYTES)}) is None
    assert unpack_index({**fields, field: fields[field] + b"1"}) is None
    first = fields[b"a/0"]
    assert unpack_index({**fields, b"a/0": first[ENTRY_BYTES:] + first[:ENTRY_BYTES]}) is None


def test_an_empty_index_is_none_at_all() -> None:
    """A session without events has no such key."""
    assert unpack_index({}) == frozenset()


def test_types_that_no_poll_can_name_share_a_name() -> None:
    """They have an entry each, and never one under a type that can be asked for."""
    assert {type_name(odd) for odd in ("", "Step", "a b", "a\0", "é", "x" * 101)} == {""}
    assert is_askable(type_name("step_created"))
