"""The hot sessions as operators see them: GET /api/v2/projection/sessions."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from readmodel.values.freshness import rfc3339
from readmodel.values.parameters import Parameters, whole
from readmodel.values.poll import DEFAULT_LIMIT
from readmodel.values.poll_query import MAX_LIMIT, MAX_PAGE
from readmodel.view.header import Header
from readmodel.view.whole import WholeView


class HotSessionsPage(NamedTuple):
    """Which part of a list: pages are `limit` long and count from 1."""

    limit: int = DEFAULT_LIMIT
    page: int = 1


def parse_page(query_string: bytes) -> HotSessionsPage:
    """Parse `limit` and `page`; raises InvalidParameter."""
    given = Parameters(query_string, ("limit", "page"), "accepted are limit and page")
    limit = given.one(("limit",), partial(whole, most=MAX_LIMIT))
    page = given.one(("page",), partial(whole, most=MAX_PAGE))
    given.check()
    return HotSessionsPage(limit or DEFAULT_LIMIT, page or 1)


async def list_hot_sessions(view: WholeView, page: HotSessionsPage) -> dict[str, Any]:
    """List a page of the hot sessions, most recently active first; raises StoreUnavailable or StoreRefused."""
    listed = await view.hot_sessions((page.page - 1) * page.limit, page.limit)
    headers = await view.headers([session_id for session_id, _ in listed])
    items = [_item(*entry, header) for entry, header in zip(listed, headers, strict=True)]
    return {"items": items, "total": await view.hot_count()}


def _item(session_id: str, active_ms: int, header: Header | None) -> dict[str, Any]:
    """Describe one session; the index may list one whose keys have just left: then only its activity is known."""
    newest = header.newest if header and header.count else None
    return {
        "session_id": session_id,
        "status": header.status if header else None,
        "events": header.count if header else 0,
        "last_event_at": None if newest is None else rfc3339(newest),
        "last_polled_at": rfc3339(header.polled_ms * 1_000) if header and header.polled_ms else None,
        "last_active_at": rfc3339(active_ms * 1_000),
        "bytes": header.bytes if header else 0,
    }
