"""FastAPI on Postgres, written well: asyncpg's pool, one prepared statement a poll, orjson. Run as `PORT`.

It checks the key and the session, counts exactly, and gives neither ETags nor how fresh it is.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Response

from bench.peers.answer import body
from bench.peers.plain import EVENT_JSON
from bench.peers.serving import Limit, Page, authorised, serve
from readmodel.postgres.client import Pool

POOL_SIZE = 10
# A text of its own for each way to ask, so that the planner sees no condition that does not count. Postgres builds the
# JSON: a second core works while Python's one only joins. Without `since` the count is an index-only scan.
_STATEMENT = f"""
SELECT (SELECT count(*) FROM events WHERE session_id = $1 :since) AS total,
       ARRAY(SELECT {EVENT_JSON} FROM events WHERE session_id = $1 :since
             ORDER BY timestamp DESC, id DESC LIMIT $2 OFFSET $3) AS items
FROM sessions WHERE id = $1
"""
_ALL = _STATEMENT.replace(":since", "")
_SINCE = _STATEMENT.replace(":since", "AND timestamp > $4")
_pools: list[Pool] = []


async def _keep(_: Any) -> None:
    """Reset nothing between two uses: a poll leaves nothing behind, and a reset costs a round trip."""


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    url = os.environ["BENCH_DATABASE_URL"]
    async with asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_keep) as pool:
        _pools.append(pool)
        yield


app = FastAPI(openapi_url=None, lifespan=_lifespan)


@app.get("/api/v2/sessions/{session_id}/events", dependencies=[Depends(authorised)])
async def events(
    session_id: UUID,
    since: datetime | None = None,
    limit: Limit = 100,
    page: Page = 1,
) -> Response:
    """A page, newest first."""
    arguments = [session_id, limit, (page - 1) * limit]
    if since is None:
        row = await _pools[0].fetchrow(_ALL, *arguments)
    else:
        row = await _pools[0].fetchrow(_SINCE, *arguments, since)
    if row is None:
        raise HTTPException(404, f"Session not found: {session_id}")
    return Response(body(",".join(row["items"]).encode(), row["total"], page, limit), media_type="application/json")


if __name__ == "__main__":
    serve(app)
