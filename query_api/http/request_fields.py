"""The header fields of a request that any answer depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from query_api.access.gate import Credential

WANTED = frozenset(
    {b"x-api-key", b"authorization", b"if-none-match", b"readside-max-staleness", b"origin", b"x-request-id"}
    | {b"traceparent", b"accept-encoding", b"host", b"readside-not-before", b"prefer"}
)
SECRETS = frozenset({b"x-api-key", b"authorization"})
TWICE = b"\n"
"""Stands between two values of a field that may come once only. No value has it: it ends a line."""


class RequestFields(dict[bytes, bytes]):
    """Field values by their lower-case names. `credential` is what the gate last made of the key or token in them."""

    __slots__ = ("credential",)

    def __init__(self, fields: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(fields)
        self.credential: Credential | None = None


def wanted(headers: Iterable[tuple[bytes, bytes]]) -> RequestFields:
    """Pick the fields that any answer depends on; several of one name are joined."""
    fields = RequestFields()
    for name, value in headers:
        if name in WANTED:
            between = TWICE if name in SECRETS else b", "
            fields[name] = fields[name] + between + value if name in fields else value
    return fields
