"""The parameters of a query string. All that is wrong with them is found before any is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from readmodel.errors import InvalidParameter
from readmodel.shown import cut, shown

CACHE_BUSTER = "_"
"""Some libraries add it so that no cache answers. It asks nothing."""

MOST_WRONG = 20
"""What is wrong past these is not named."""

_T = TypeVar("_T")


class Parameters:
    """The values of a query string by their names; `accepts` ends the sentence that refuses any other name.

    `wrong` is filled on the way.
    """

    def __init__(self, query_string: bytes, names: Collection[str], accepts: str) -> None:
        self.wrong: list[InvalidParameter] = []
        self._values: dict[str, list[str]] = {}
        unknown = set()
        for piece in query_string.split(b"&"):
            raw_name, _, raw_value = piece.partition(b"=")
            if not piece:
                continue
            try:
                name = _decode("the query string", raw_name)
                if name == CACHE_BUSTER:
                    continue
                if name in names:
                    value = _decode(name, raw_value)
                    self._values.setdefault(name, []).append(value)
                elif name not in unknown:
                    unknown.add(name)
                    raise InvalidParameter(cut(name), f"There is no parameter {shown(name)}; {accepts}.")
            except InvalidParameter as error:
                self.wrong.append(error)

    def attempt(self, parse: Callable[[str], _T], text: str) -> _T | None:
        """Parse what stands elsewhere in the request."""
        try:
            return parse(text)
        except InvalidParameter as error:
            self.wrong.append(error)
        return None

    def one(self, names: tuple[str, ...], parse: Callable[[str, str], _T]) -> _T | None:
        """Parse a parameter, of several names, that may come once; `parse` gets the name that was used."""
        if self._values.keys().isdisjoint(names):
            return None
        used = [name for name in names if name in self._values]
        name, values = used[0], self._values[used[0]]
        try:
            if len(used) > 1:
                raise InvalidParameter(used[1], f"{used[1]} is another name of {name}: give one of them.")
            if len(values) > 1:
                raise InvalidParameter(name, f"{name} is given {len(values)} times; it is accepted once.")
            return parse(name, values[0])
        except InvalidParameter as error:
            self.wrong.append(error)
        return None

    def several(self, names: tuple[str, ...], parse: Callable[[str, str], str], most: int) -> tuple[str, ...]:
        """Parse a parameter that may be repeated: its distinct values, sorted, of which there may be `most`."""
        if self._values.keys().isdisjoint(names):
            return ()
        found = set()
        for name in names:
            for text in dict.fromkeys(self._values.get(name, ())):
                try:
                    found.add(parse(name, text))
                except InvalidParameter as error:
                    self.wrong.append(error)
        if len(found) > most:
            self.wrong.append(
                InvalidParameter(names[0], f"{names[0]} is given {len(found)} times; at most {most} are accepted.")
            )
        return tuple(sorted(found))

    def check(self) -> None:
        """Raise InvalidParameter, which names all that is wrong, if anything is."""
        if self.wrong:
            raise InvalidParameter.all_of(self.wrong[:MOST_WRONG])


def whole(name: str, text: str, most: int) -> int:
    """Parse a whole number from 1 to `most`; raises InvalidParameter."""
    if text.isascii() and text.isdigit() and len(text) <= 20 and 1 <= int(text) <= most:
        return int(text)
    raise not_accepted(name, text, f"a whole number from 1 to {most}")


def not_accepted(name: str, text: str, accepts: str) -> InvalidParameter:
    """Say what a parameter accepts."""
    return InvalidParameter(name, f"{name} must be {accepts}, not {shown(text)}.")


def _decode(name: str, raw: bytes) -> str:
    try:
        if b"%" not in raw and b"+" not in raw:
            return raw.decode()
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise InvalidParameter(name, f"The value of {name} is not UTF-8.") from None
