"""The endpoint that applications had before readside: a route of their own, FastAPI and pydantic over their Postgres.

It does what such a route was planned to do, and all else as its libraries do it by themselves.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from readside.demo.processes import LOOPBACK
from tests.support.waiting import eventually

KEY = "tb_prod_a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4"
"""The one key that it knows."""
OPEN_PATHS = {"/health", "/docs", "/redoc", "/openapi.json"}
SELECT = """
SELECT id, session_id, step_id, event_type, event_data, message, timestamp, count(*) OVER () AS total FROM events
WHERE session_id = $1 AND ($2::timestamptz IS NULL OR timestamp > $2) AND ($3::text IS NULL OR event_type = $3)
ORDER BY timestamp DESC LIMIT $4 OFFSET $5
"""


class OriginalEvent(BaseModel):
    """An event, as the application's route gives it."""

    id: UUID
    session_id: UUID
    step_id: UUID | None = None
    event_type: str
    event_data: dict[str, Any]
    message: str | None = None
    timestamp: datetime


class OriginalPagination(BaseModel):
    """Where in the list a page is."""

    page: int
    per_page: int
    total: int
    total_pages: int
    has_next: bool
    has_prev: bool


class OriginalList(BaseModel):
    """A page of events."""

    items: list[OriginalEvent]
    pagination: OriginalPagination


@asynccontextmanager
async def original(database_url: str) -> AsyncIterator[str]:
    """The URL of an application with its own route for events, and some others."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=4, init=_with_json) as pool:
        server = uvicorn.Server(uvicorn.Config(_application(pool), LOOPBACK, 0, log_config=None, lifespan="off"))
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup()
        try:
            port = server.servers[0].sockets[0].getsockname()[1]
            await eventually(lambda: server.started, "the application is served")
            yield f"http://{LOOPBACK}:{port}"
        finally:
            await server.shutdown()


async def _with_json(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


def _application(pool: "asyncpg.Pool[asyncpg.Record]") -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def with_a_key(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        key = request.headers.get("X-API-Key")
        if request.url.path in OPEN_PATHS or key == KEY:
            return await call_next(request)
        return JSONResponse({"detail": "Invalid API key" if key else "Missing API key"}, 401)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "healthy"}

    @app.post("/api/v2/sessions", status_code=201)
    async def created() -> dict[str, str]:
        return {"answered_by": "the application"}

    @app.get("/api/v2/sessions/{session_id}")
    @app.get("/api/v2/sessions/{session_id}/steps")
    @app.get("/api/v2/sessions/{session_id}/events/export")
    async def other(session_id: UUID) -> dict[str, str]:
        return {"answered_by": "the application"}

    @app.get("/api/v2/sessions/{session_id}/events")
    async def events(
        session_id: UUID,
        page: Annotated[int, Query(ge=1)] = 1,
        per_page: Annotated[int, Query(ge=1, le=100)] = 20,
        since: datetime | None = None,
        event_type: Annotated[str | None, Query(pattern="^[a-z_]+$", max_length=100)] = None,
    ) -> OriginalList:
        if not await pool.fetchval("SELECT true FROM sessions WHERE id = $1", session_id):
            raise HTTPException(404, f"Session not found: {session_id}")
        rows = await pool.fetch(SELECT, session_id, since, event_type, per_page, (page - 1) * per_page)
        return _listed([dict(row) for row in rows], page, per_page)

    return app


def _listed(rows: list[dict[str, Any]], page: int, per_page: int) -> OriginalList:
    total = rows[0]["total"] if rows else 0
    pages = -(-total // per_page)
    pagination = {"page": page, "per_page": per_page, "total": total, "total_pages": pages}
    return OriginalList.model_validate(
        {"items": rows, "pagination": pagination | {"has_next": page < pages, "has_prev": page > 1}}
    )
