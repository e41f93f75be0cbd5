"""JSON read as it stands: however deep it is nested, and however long its numbers are.

The standard library's scanner reads what is ordinary. But it recurses, and so ends at some depth; it refuses integers
of more than 4,300 digits; and it makes infinity of what no float can hold. What it fails at is read again, by a loop.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from json import JSONDecoder
from math import isfinite
from typing import Any, Never

ParseFloat = Callable[[str], Any]
Read = Callable[[str, int], tuple[Any, int]]
"""Reads what begins at a place of a text, and tells where it ends; raises NotJson."""

_BLANK = frozenset(" \t\n\r")
_BLANKS = re.compile(r"[ \t\n\r]*")
_MEMBER = re.compile(r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*')
"""A name as most are, without an escape, and what stands between it and its value."""
_DIGITS = 500
_MOST_DIGITS = 200_000
"""More than PostgreSQL holds (131,072). It would take minutes to make an integer of a whole answer full of digits."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class NotJson(ValueError):
    """A text is no JSON, or does not hold what should be there; says where."""


class _Tries:
    """Where the library's scanner, which is fast, is next tried upon a part of what it failed at.

    After each failure twice as far on, so that all of them together read the text a few times at most.
    """

    def __init__(self, start: int) -> None:
        self.next = start
        self._stride = 64

    def failed(self, at: int) -> None:
        self.next = at + self._stride
        self._stride *= 2


class ExactJson:
    """Reads values; `parse_float` makes the numbers that have a point or an exponent, and what it raises is raised."""

    def __init__(self, parse_float: ParseFloat = float) -> None:
        self._parse_float = nearest if parse_float is float else parse_float
        scan = partial(JSONDecoder, parse_float=self._parse_float, parse_constant=_no_json)
        self._scan: Read = scan().raw_decode
        self._scan_long: Read = scan(parse_int=whole).raw_decode

    def value(self, text: str, start: int) -> tuple[Any, int]:
        """Read any value."""
        try:
            return self._scan(text, start)
        except (ValueError, RecursionError):
            return self._by_loop(text, start)

    def raw(self, text: str, start: int) -> tuple[str, int]:
        """Any value's own text."""
        _, end = self.value(text, start)
        return text[start:end], end

    def members(self, text: str, start: int, special: Mapping[str, Read]) -> tuple[dict[str, Any], int]:
        """Read an object; members of `special` in their own way."""
        found: dict[str, Any] = {}
        at = after_blanks(text, _past("{", text, start))
        if text[at : at + 1] == "}":
            return found, at + 1
        while True:
            name, at = self._name(text, at)
            found[name], at = special.get(name, self.value)(text, at)
            at, ended = _next(text, at, "}")
            if ended:
                return found, at

    def elements(self, text: str, start: int, build: Callable[[Any, str], Any]) -> tuple[list[Any], int]:
        """Read an array; each element is built of its value and its own text."""
        found: list[Any] = []
        add, scan = found.append, self._scan
        at = after_blanks(text, _past("[", text, start))
        if text[at : at + 1] == "]":
            return found, at + 1
        while True:
            try:
                value, end = scan(text, at)
            except (ValueError, RecursionError):
                value, end = self._by_loop(text, at)
            add(build(value, text[at:end]))
            if text[end : end + 2] == ",{":
                at = end + 1
                continue
            at, ended = _next(text, end, "]")
            if ended:
                return found, at

    def _by_loop(self, text: str, at: int) -> tuple[Any, int]:
        """Read any value without recursion: `around` are the containers that are open, `names` for what is to come."""
        around: list[dict[str, Any] | list[Any]] = []
        names: list[str] = []
        tries = _Tries(at)
        while True:
            value, at, opened = self._begun(text, at, tries)
            if opened:
                around.append(value)
                names.append("")
            while around and not opened:
                if isinstance(around[-1], dict):
                    around[-1][names[-1]] = value
                else:
                    around[-1].append(value)
                at, ended = _next(text, at, "}" if isinstance(around[-1], dict) else "]")
                if not ended:
                    break
                value = around.pop()
                names.pop()
            if not around:
                return value, at
            if isinstance(around[-1], dict):
                names[-1], at = self._name(text, at)

    def _begun(self, text: str, at: int, tries: _Tries) -> tuple[Any, int, bool]:
        """Read a whole value, or of a container that is nested too deep its beginning, and True."""
        kind = text[at : at + 1]
        if kind not in {"{", "["}:
            return *self._scalar(text, at), False
        if at >= tries.next:
            try:
                return *self._scan_long(text, at), False
            except (ValueError, RecursionError):
                tries.failed(at)
        container: dict[str, Any] | list[Any] = {} if kind == "{" else []
        at += 1
        if text[at : at + 1] in _BLANK:
            at = after_blanks(text, at)
        empty = text[at : at + 1] == ("}" if kind == "{" else "]")
        return container, at + empty, not empty

    def _scalar(self, text: str, at: int) -> tuple[Any, int]:
        number = _NUMBER.match(text, at)
        if number:
            parse = whole if number.lastindex is None else self._parse_float
            return parse(number[0]), number.end()
        try:
            return self._scan(text, at)
        except ValueError:
            raise _wrong(text, at) from None

    def _name(self, text: str, at: int) -> tuple[str, int]:
        """Read a member's name; gives where its value begins."""
        plain = _MEMBER.match(text, at)
        if plain:
            return plain[1], plain.end()
        if text[at : at + 1] != '"':
            raise _wrong(text, at)
        name, at = self._scalar(text, at)
        return name, after_blanks(text, _past(":", text, after_blanks(text, at)))


def whole(text: str) -> int:
    """Make an integer of any length, also where Python converts no more than some digits at once (4,300, or 640)."""
    if len(text) <= _DIGITS:
        return int(text)
    if len(text) > _MOST_DIGITS:
        raise NotJson(f"an integer of {len(text)} digits is longer than any that PostgreSQL holds")
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    first = len(digits) % _DIGITS
    parts = [int(digits[at : at + _DIGITS]) for at in range(first, len(digits), _DIGITS)]
    parts.insert(0, int(digits[:first] or "0"))
    base = 10**_DIGITS
    while len(parts) > 1:  # by pairs, so that few multiplications are of long numbers
        parts = [0] * (len(parts) % 2) + parts
        parts = [high * base + low for high, low in zip(parts[::2], parts[1::2], strict=True)]
        base *= base
    return sign * parts[0]


def nearest(text: str) -> float | Decimal:
    """Make the float that is nearest; a Decimal of what is too large or too small for one."""
    number = float(text)
    if (number and isfinite(number)) or not text.lower().partition("e")[0].strip("-0."):
        return number
    try:
        return Decimal(text)
    except InvalidOperation:
        _no_json(text)


def after_blanks(text: str, at: int) -> int:
    """Tell where the next thing begins."""
    return _BLANKS.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too


def _next(text: str, at: int, closing: str) -> tuple[int, bool]:
    """Tell where the next member begins, or where the container ends, and True."""
    if text[at : at + 1] in _BLANK:
        at = after_blanks(text, at)
    if text[at : at + 1] == closing:
        return at + 1, True
    at = _past(",", text, at)
    return (after_blanks(text, at) if text[at : at + 1] in _BLANK else at), False


def _past(wanted: str, text: str, at: int) -> int:
    if text[at : at + 1] != wanted:
        raise _wrong(text, at)
    return at + 1


def _wrong(text: str, at: int) -> NotJson:
    return NotJson(f"at character {at} stands {text[at : at + 20]!r}" if at < len(text) else "it ends early")


def _no_json(text: str) -> Never:
    raise NotJson(f"{text[:20]} is no JSON number")


ANY_JSON = ExactJson()
"""Reads where nobody asked for numbers of another kind."""
