"""Offsets of a stream: what they hold comes back, they sort as their cuts do, and nobody else's are taken."""

import base64
import random
from itertools import pairwise

import pytest

from readmodel.errors import InvalidParameter
from readmodel.values.cut import START, Cut
from readmodel.values.offset import (
    ID_BYTES,
    MAX_OFFSET_CHARS,
    MAX_OPEN,
    MAX_TOLD,
    Offset,
    Within,
    memory_of,
    origin_of,
    parse_offset,
)

ORIGIN = origin_of("7000000000000000001/16384", 42)
FORBIDDEN = set(",&=?/")


def history(seed: int, steps: int, most_open: int) -> list[Cut]:
    """The snapshots of a server on which transactions begin and end, in order, each different from the one before."""
    chance, running, xmax, cuts = random.Random(seed), set[int](), 3 + seed * 1_000_003, list[Cut]()
    next_id = xmax
    for _ in range(steps):
        for _ in range(chance.randrange(1, 5)):
            if running and (len(running) >= most_open or chance.random() < 0.5):
                ended = chance.choice(sorted(running))
                running.discard(ended)
                xmax = max(xmax, ended + 1)
            else:
                running.add(next_id)
                next_id += chance.choice((1, 1, 1, 2, 40))
        cut = Cut(xmax, frozenset(txid for txid in running if txid < xmax))
        if not cuts or cut != cuts[-1]:
            cuts.append(cut)
    return cuts


@pytest.mark.parametrize("seed", range(20))
def test_what_an_offset_holds_comes_back(seed: int) -> None:
    """Cuts, and places between two of them."""
    cuts = history(seed, 60, 40)
    for one, other in pairwise(cuts):
        for offset in (Offset(ORIGIN, one), Offset(ORIGIN, one, Within(other, -5 - seed, bytes(range(16))))):
            assert parse_offset(offset.text) == offset
            assert len(offset.text) <= MAX_OFFSET_CHARS
            assert not FORBIDDEN & set(offset.text)


@pytest.mark.search
@pytest.mark.parametrize("seed", range(20))
def test_offsets_sort_as_cuts_do(seed: int) -> None:
    """Places within an answer stand between its ends, in the order of its events."""
    cuts = [START, *history(seed, 200, 60)]
    texts = [Offset(ORIGIN, cut).text for cut in cuts]

    assert texts == sorted(set(texts))
    for one, other in pairwise(cuts):
        places = [(us, bytes([byte] * 16)) for us in (-(10**15), -1, 0, 7, 10**15) for byte in (0, 9, 255)]
        within = [Offset(ORIGIN, one, Within(other, *place)).text for place in places]
        all_three = [Offset(ORIGIN, one).text, *within, Offset(ORIGIN, other).text]
        assert all_three == sorted(set(all_three))


def test_a_busy_server_s_open_ids_fit() -> None:
    """Four hundred open transactions among eight hundred ids, and one that began long ago."""
    chance = random.Random(1)
    cut = Cut(10**9, frozenset(chance.sample(range(10**9 - 800, 10**9), 400)) | {10**6})

    assert parse_offset(Offset(ORIGIN, cut).text).cut == cut


@pytest.mark.parametrize("alone", [True, False])
def test_a_cut_with_too_many_open_ids_is_lowered(alone: bool) -> None:
    """It shows less, and nothing that the whole one does not show."""
    cut = Cut(20_000, frozenset(range(1_000, 19_000, 7)))
    offset = Offset(ORIGIN, cut, None if alone else Within(cut, 5, bytes(16)))
    told = parse_offset(offset.text)

    assert len(offset.text) <= MAX_OFFSET_CHARS
    assert cut.covers(told.cut)
    assert told.cut.xmin == cut.xmin
    assert len(told.cut.running) > 90
    assert told.cut != cut
    assert alone or (told.within is not None and cut.covers(told.within.upto))


def test_an_offset_takes_no_more_memory_than_that_of_a_busy_server() -> None:
    """Whoever writes one: of ids that lie side by side a few letters would tell thousands."""
    ids, most = range(10_000, 10_000 + 1_300), MAX_TOLD
    told = parse_offset(Offset(ORIGIN, Cut(12_000, frozenset(ids))).text)
    packed = base64.urlsafe_b64encode(b"\xff" * 171).decode()

    assert told.cut == Cut(ids[most], frozenset(ids[:most]))
    assert memory_of(told) == memory_of(Offset(ORIGIN, START, Within(told.cut, 0, bytes(16)))) == most * ID_BYTES
    assert memory_of(None) == 0
    with pytest.raises(InvalidParameter):
        parse_offset(f"{12_000:014x}{MAX_OPEN - 1_368:04x}{ORIGIN}{packed}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1",
        "-2",
        "NOW",
        "x" * 10_000,
        "0" * 255,
        "00000000000003ffff",
        "00000000000003ffffabcdef0",
        "00000000000003fffeabcdef01",
        "00000000000003fffeabcdef01A",
        "00000000000003fffeabcdef01AA",
        "00000000000003ffffabcdef01AA",
        "00000000000003FFFFabcdef01",
        "00000000000003ffffabcdef01.",
        "00000000000003ffffabcdef01.0.0",
        f"00000000000003ffffabcdef01.{'0' * 48}",
        f"00000000000003ffffabcdef01.{'0' * 48}.00000000000003",
        f"00000000000003ffffabcdef01.{'0' * 48}.00000000000004ffffabcdef01",
        "00000000000003ffffabcdef01é",
        "00000000000003ffffabcdef01\n",
    ],
)
def test_others_offsets_are_refused(text: str) -> None:
    """With a sentence that names what is accepted."""
    with pytest.raises(InvalidParameter, match="-1 for its start"):
        parse_offset(text)


@pytest.mark.parametrize("seed", range(50))
def test_noise_is_refused_or_read(seed: int) -> None:
    """A changed letter gives no other error."""
    chance = random.Random(seed)
    cut = history(seed, 50, 30)[-1]
    letters = list(Offset(ORIGIN, cut, Within(cut, 1, bytes(16)) if seed % 2 else None).text)
    for _ in range(50):
        letters[chance.randrange(len(letters))] = chance.choice("0123456789abcdefXYZ_-.~ é")
        try:
            assert parse_offset("".join(letters)).text == "".join(letters)
        except InvalidParameter:
            continue


def test_another_history_has_another_origin() -> None:
    """Another database, and the same one after a crash."""
    assert len({origin_of("1/5", 7), origin_of("1/5", 8), origin_of("1/6", 7), origin_of("2/5", 7)}) == 4
    assert origin_of("1/5", 7) == origin_of("1/5", 7)
