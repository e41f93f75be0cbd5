"""The bytes of an answer, from events that are JSON already."""

from datetime import UTC, datetime, timedelta

import orjson

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def body(items: bytes, total: int, page: int, limit: int) -> bytes:
    """Put joined events and their total into the contract's envelope."""
    pages = -(-total // limit)
    pagination = {
        "page": page,
        "per_page": limit,
        "total": total,
        "total_pages": pages,
        "has_next": page < pages,
        "has_prev": page > 1,
    }
    return b'{"items":[%b],"total":%d,"pagination":%b}' % (items, total, orjson.dumps(pagination))


def microseconds(instant: datetime) -> int:
    """An instant as microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
