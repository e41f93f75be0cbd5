"""A whole response, and its header fields in the two forms in which they leave."""

from __future__ import annotations

from dataclasses import dataclass

Pairs = list[tuple[bytes, bytes]]


class HeaderFields:
    """Header fields as ASGI wants them (`pairs`) and as the socket does (`lines`: each ends with CRLF)."""

    __slots__ = ("lines", "pairs")

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        """Whether these are the same fields in the same order."""
        return isinstance(other, HeaderFields) and self.pairs == other.pairs


NO_FIELDS = HeaderFields([])
SAFETY = HeaderFields(
    [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
)
"""What every answer tells a browser: it is what it says it is, names nobody, and is no part of another site's page."""


@dataclass(slots=True)  # each poll makes one: a tuple would take twice as long
class Reply:
    """A whole response: status, header fields in their order, body."""

    status: int
    fields: tuple[HeaderFields, ...]
    body: bytes

    @property
    def headers(self) -> Pairs:
        """The header fields as ASGI wants them."""
        return [pair for fields in self.fields for pair in fields.pairs]
