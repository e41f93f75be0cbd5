"""FastAPI on Redis, written well: redis-py's pool, one pipeline a poll, the events' bytes joined. Run as `PORT`.

It knows neither 404s nor ETags nor how fresh it is, and what keeps its sorted sets up to date is not its business.
"""

import os
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Depends, FastAPI, Response
from redis.asyncio import Redis

from bench.peers.answer import body, microseconds
from bench.peers.plain import key_of
from bench.peers.serving import Limit, Page, authorised, serve

_redis = Redis.from_url(os.environ.get("BENCH_REDIS_URL", "redis://"))
app = FastAPI(openapi_url=None)


@app.get("/api/v2/sessions/{session_id}/events", dependencies=[Depends(authorised)])
async def events(
    session_id: UUID,
    since: datetime | None = None,
    limit: Limit = 100,
    page: Page = 1,
) -> Response:
    """A page, newest first."""
    key, offset = key_of(str(session_id)), (page - 1) * limit
    pipeline: Any = _redis.pipeline(transaction=False)
    if since is None:
        pipeline.zcard(key).zrevrange(key, offset, offset + limit - 1)
    else:
        after = f"({microseconds(since)}"
        pipeline.zcount(key, after, "+inf").zrevrangebyscore(key, "+inf", after, start=offset, num=limit)
    total, members = await pipeline.execute()
    return Response(body(b",".join(members), total, page, limit), media_type="application/json")


if __name__ == "__main__":
    serve(app)
