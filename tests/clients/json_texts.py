"""JSON texts of any depth, length and script, each with the value that it says; and a comparison without recursion."""

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

Told = tuple[str, Any]
"""A text, and its value: numbers with a point or an exponent are Decimals."""

_DIGITS = st.text("0123456789", min_size=1, max_size=20)
_LONG = st.builds(lambda digits, times: digits * times, _DIGITS, st.integers(1, 400))


def _whole(digits: str, sign: str) -> str:
    return sign + (digits.lstrip("0") or "0")


WHOLE = st.builds(_whole, _DIGITS | _LONG, st.sampled_from(["", "-"]))
POINTED = st.builds(lambda whole, digits: f"{whole}.{digits}", WHOLE, _DIGITS | _LONG)
POWERED = st.builds(lambda number, power: f"{number}e{power}", WHOLE | POINTED, st.integers(-6000, 6000))
CHARACTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
"""What Postgres holds in a text: no NUL, no half of a pair."""


def scalars(numbers: st.SearchStrategy[str], characters: st.SearchStrategy[str]) -> st.SearchStrategy[Told]:
    """Numbers as their texts, strings with escapes and without, and the three words."""
    strings = st.text(characters, max_size=40)
    return st.one_of(
        numbers.map(lambda text: (text, number(text))),
        st.builds(lambda text, ascii_only: (json.dumps(text, ensure_ascii=ascii_only), text), strings, st.booleans()),
        st.sampled_from([("null", None), ("true", True), ("false", False), ('"\\u00e9\\/\\b"', "é/\b")]),
    )


def number(text: str) -> Any:
    """What a number's text says."""
    value = Decimal(text)
    return value if any(mark in text for mark in ".e") else int(value)


def values(leaves: st.SearchStrategy[Told], characters: st.SearchStrategy[str]) -> st.SearchStrategy[Told]:
    """Values of a few levels, some of them wrapped into thousands more."""
    blanks = st.sampled_from(["", " ", "\n\t "])
    names = st.text(characters, max_size=8)
    shallow = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(_array, st.lists(inner, max_size=5), blanks),
            st.builds(_object, st.lists(st.tuples(names, inner), max_size=5, unique_by=lambda it: it[0]), blanks),
        ),
        max_leaves=12,
    )
    return shallow | st.builds(wrapped, shallow, st.sampled_from([3, 900, 1100, 3000, 6000]), st.booleans())


def _array(items: list[Told], blank: str) -> Told:
    joined = f"{blank},{blank}".join(text for text, _ in items)
    return f"[{blank}{joined}{blank}]", [value for _, value in items]


def _object(members: list[tuple[str, Told]], blank: str) -> Told:
    joined = f"{blank},{blank}".join(f"{json.dumps(name)}{blank}:{blank}{text}" for name, (text, _) in members)
    return f"{{{blank}{joined}{blank}}}", {name: value for name, (_, value) in members}


def wrapped(inner: Told, levels: int, named: bool) -> Told:
    """A value so many levels further down, between neighbours."""
    text, value = inner
    for _ in range(levels):
        value = {"n": value, "after": 1} if named else [0, value]
    before, after = ('{"n": ', ', "after": 1}') if named else ("[0, ", "]")
    return before * levels + text + after * levels, value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal: types, digits and the order of members included. Nothing recurses."""
    return _compared(one, other, exactly=True)


def equal(one: Any, other: Any) -> bool:
    """Whether two values are equal as jsonb has it: by numbers, whatever their digits, and in any order of members."""
    return _compared(one, other, exactly=False)


_PLAIN = {int, str, bool, type(None)}
"""Types whose equal values are the same in every way."""


def _compared(one: Any, other: Any, *, exactly: bool) -> bool:
    pairs = [(one, other)]
    while pairs:
        left, right = pairs.pop()
        if type(left) is type(right) and type(left) in _PLAIN and left == right:
            continue  # most are: the rules below take longer
        if isinstance(left, dict) and isinstance(right, dict):
            if left.keys() != right.keys() or (exactly and list(left) != list(right)):
                return False
            pairs += [(left[name], right[name]) for name in left]
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right or (exactly and _written(left) != _written(right)) or _is_word(left) != _is_word(right):
            return False
    return True


def _written(value: Any) -> object:
    return type(value), value.as_tuple() if isinstance(value, Decimal) else None


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)
