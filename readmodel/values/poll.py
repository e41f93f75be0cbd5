"""What a poll asks, and the bytes of what it gets."""

from __future__ import annotations

from typing import NamedTuple

DEFAULT_LIMIT = 100


class Poll(NamedTuple):
    """A valid question: `since_us` is microseconds since 1970, exclusive; no `types` or `steps` means any.

    `may_shorten`: no limit was asked for, so a page that is too long is shortened.
    """

    session_id: str
    since_us: int | None = None
    types: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    page: int = 1
    steps: tuple[str, ...] = ()
    oldest_first: bool = False
    may_shorten: bool = False

    @property
    def offset(self) -> int:
        """How many of the matches come before this page."""
        return (self.page - 1) * self.limit


def render(page: bytes, total: int, poll: Poll) -> bytes:
    """Build a 200's body: `page` is the events' JSON joined by commas, `total` counts all matches."""
    total_pages = -(-total // poll.limit)
    return b'{"items":[%b],"total":%d,"pagination":{"page":%d,"per_page":%d,"total":%d,"total_pages":%d,%b}}' % (
        page,
        total,
        poll.page,
        poll.limit,
        total,
        total_pages,
        b'"has_next":%b,"has_prev":%b' % (_json_bool(poll.page < total_pages), _json_bool(poll.page > 1)),
    )


def _json_bool(value: bool) -> bytes:
    return b"true" if value else b"false"
