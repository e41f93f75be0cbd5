"""FastAPI on Redis, written well: redis-py's pool, one pipeline a poll, the events' bytes joined. Run as `PORT`.

It knows neither 404s nor ETags nor how fresh it is, and what keeps its sorted sets up to date is not its business.
"""

import os
import sys
from datetime import datetime
from secrets import compare_digest
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response
from redis.asyncio import Redis

from bench.peers.answer import body, microseconds
from bench.peers.plain import key_of

_API_KEY = os.environ.get("BENCH_API_KEY", "")
_redis = Redis.from_url(os.environ.get("BENCH_REDIS_URL", "redis://"))
app = FastAPI(openapi_url=None)


async def authorised(x_api_key: Annotated[str, Header()] = "") -> None:
    """Let in who has the key."""
    if not compare_digest(x_api_key.encode(), _API_KEY.encode()):
        raise HTTPException(401, "A key is wanted.")


@app.get("/api/v2/sessions/{session_id}/events", dependencies=[Depends(authorised)])
async def events(
    session_id: UUID,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    page: Annotated[int, Query(ge=1)] = 1,
) -> Response:
    """Give a page, newest first."""
    key, offset = key_of(str(session_id)), (page - 1) * limit
    pipeline: Any = _redis.pipeline(transaction=False)
    if since is None:
        pipeline.zcard(key).zrevrange(key, offset, offset + limit - 1)
    else:
        after = f"({microseconds(since)}"
        pipeline.zcount(key, after, "+inf").zrevrangebyscore(key, "+inf", after, start=offset, num=limit)
    total, members = await pipeline.execute()
    return Response(body(b",".join(members), total, page, limit), media_type="application/json")


@app.get("/ready")
async def ready() -> Response:
    """Answer once it serves."""
    return Response()


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
