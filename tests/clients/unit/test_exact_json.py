"""JSON read exactly: whatever its depth, its digits and its characters."""

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readside_client.exact_json import ExactJson, NotJson, nearest, whole
from tests.clients.json_texts import (
    POINTED,
    POWERED,
    WHOLE,
    Told,
    number,
    same,
    scalars,
    values,
    wrapped,
)

ANY_CHARACTERS = st.characters()
"""Halves of pairs too, which a text can name by escapes."""
ANY = values(scalars(WHOLE | POINTED | POWERED, ANY_CHARACTERS), ANY_CHARACTERS)


def read(text: str, exact: ExactJson | None = None) -> Any:
    """A text that is one value."""
    value, end = (exact or ExactJson(Decimal)).value(text, 0)
    assert end == len(text)
    return value


@settings(max_examples=80, deadline=None, derandomize=True)
@given(ANY)
def test_a_value_is_what_the_text_says(told: Told) -> None:
    """Of any depth, with numbers of any length, in any characters, with blanks between."""
    text, value = told

    assert same(read(text), value)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(ANY, st.text(" \t\n,]}", max_size=3))
def test_a_value_ends_where_its_text_ends(told: Told, behind: str) -> None:
    """So that its own text can be told from what follows."""
    exact = ExactJson()
    end_of_number = " " if behind == "" else behind

    assert exact.raw(told[0] + end_of_number, 0) == (told[0], len(told[0]))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_ordinary_values_are_the_standard_librarys(value: Any) -> None:
    """To the type and the bit."""
    text = json.dumps(value)

    assert same(read(text, ExactJson()), json.loads(text))


@pytest.mark.parametrize("levels", [3_000, 30_000])
@pytest.mark.parametrize("named", [False, True])
def test_an_event_3000_levels_deep(levels: int, named: bool) -> None:
    """And a much deeper one."""
    text, value = wrapped(("7", 7), levels, named)

    assert same(read(text), value)


def test_depth_is_read_wherever_the_caller_stands() -> None:
    """Also where Python leaves too few levels for what is ordinary."""
    text = "[" * 400 + "]" * 400
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        found = read(text)
    finally:
        sys.setrecursionlimit(limit)

    assert same(found, json.loads(text))


def test_a_number_of_1e5000() -> None:
    """As a power, and as Postgres prints it."""
    for text in ('{"n":1e5000}', f'{{"n": 1{"0" * 5000}}}'):
        assert read(text)["n"] == Decimal("1e5000")


def test_400_digits_with_a_point_do_not_become_infinite() -> None:
    """Where floats are wanted, what none can hold is a Decimal; all else stays a float."""
    long = "7" * 400 + ".5"

    assert read(f"[{long}, 1.5, -{long}, 0.0, -0.0]", ExactJson()) == [
        Decimal(long),
        1.5,
        Decimal(f"-{long}"),
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1e400", Decimal), ("-1e400", Decimal), ("1e-400", Decimal), ("0e-400", float), ("-0.000", float), ("0e9", float),
     ("1.7976931348623157e308", float), ("5e-324", float)],
)  # fmt: skip
def test_a_float_is_never_infinite_nor_zero_for_another_number(text: str, kind: type) -> None:
    """The largest and the least of floats are floats still."""
    made = nearest(text)

    assert type(made) is kind
    assert Decimal(text) == made if kind is Decimal else float(text) == made


@pytest.fixture
def any_digits() -> Iterator[None]:
    """Let Python itself convert any number of digits, to compare."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("any_digits")
@pytest.mark.parametrize("digits", [1, 499, 500, 501, 1_000, 1_001, 4_300, 4_301, 5_000, 131_072])
def test_integers_have_any_number_of_digits(digits: int) -> None:
    """As many as numeric of Postgres."""
    text = ("9081726354" * (digits // 10 + 1))[:digits]
    value = int(text)

    assert whole(text) == value
    assert whole(f"-{text}") == -value


def test_integers_of_5000_digits_need_no_setting() -> None:
    """And change none."""
    before = sys.get_int_max_str_digits()

    assert read("[" + "9" * 5000 + "]") == [10**5000 - 1]
    assert sys.get_int_max_str_digits() == before == 4300


def test_lone_surrogates_are_what_the_text_names() -> None:
    """Half of a pair is no reason to stop."""
    assert read('"\\ud800"') == "\ud800"
    assert read("[" * 2000 + '"\\udfff"' + "]" * 2000) is not None


@pytest.mark.parametrize(
    "text",
    ["", "[", "{", '{"a"', '{"a":', "[1", "[1,", "[1,]", '{"a":1,}', "NaN", "[Infinity]", "-Infinity", "-", '"a', "tru",
     "[1 2]", "{1:2}", '["\n"]', "]", "[" * 5000, '{"a":' * 5000, "[" * 3000 + "NaN" + "]" * 3000, "1e9" + "9" * 30],
    ids=range(23),
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str) -> None:
    """By one kind of error, at any depth; NaN is none."""
    with pytest.raises(NotJson):
        ExactJson().value(text, 0)


@pytest.mark.parametrize("text", ["1.5", "[" * 3000 + "1.5" + "]" * 3000], ids=["shallow", "deep"])
def test_what_the_callers_function_raises_is_raised(text: str) -> None:
    """It is no fault of the text's."""

    def refuse(_: str) -> float:
        raise ValueError("no floats here")

    with pytest.raises(ValueError, match="no floats here") as caught:
        ExactJson(refuse).value(text, 0)
    assert not isinstance(caught.value, NotJson)


def test_shallow_parts_of_a_deep_value_are_read_fast() -> None:
    """The library's scanner is tried again on them, and not on each level of a chain."""
    tried: list[int] = []
    exact = ExactJson()
    scan = exact._scan_long

    def shallow(text: str, at: int) -> tuple[Any, int]:
        tried.append(at)
        if text.startswith("[" * 1000, at):  # as Python 3.11 does; later ones end further down
            raise RecursionError
        return scan(text, at)

    exact._scan_long = shallow
    text = "[" + "[" * 5000 + "]" * 5000 + ',{"a":[1,2,3]}' * 500 + "]"
    value, end = exact._by_loop(text, 0)

    assert (end, value[-1]) == (len(text), {"a": [1, 2, 3]})
    assert 500 < len(tried) < 520


def test_numbers_keep_their_text_as_decimals() -> None:
    """Trailing zeros included."""
    assert str(read("[1.10, 100.00, 0.10e2]")) == str([number("1.10"), number("100.00"), number("0.10e2")])


def test_an_integer_longer_than_any_in_postgres_is_refused_at_once() -> None:
    """Python takes quadratic time, or nearly, for what a hostile answer can hold."""
    assert read("9" * 131_072) % 10 == 9

    with pytest.raises(NotJson):
        read("9" * 30_000_000)
