"""The pages for people, and the OpenAPI document: all from this package, nothing loaded from outside."""

from __future__ import annotations

from importlib.resources import files

import orjson
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from query_api.openapi import document

_MEDIA_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
ASSETS = ("readside.css", "index.js", "docs.js")


def router(root_path: str) -> APIRouter:
    """Build the pages' routes; links in them are relative, so that they work under any prefix."""
    made = APIRouter()
    described = orjson.dumps(document(root_path), option=orjson.OPT_INDENT_2)
    assets = {name: _page(name) for name in ASSETS}

    @made.get("/")
    async def index() -> Response:
        return _page("index.html")

    @made.get("/docs")
    async def docs() -> Response:
        return _page("docs.html")

    @made.get("/static/{name}")
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return assets[name]

    @made.get("/openapi.json")
    async def openapi() -> Response:
        return Response(described, media_type="application/json", headers=_HEADERS)

    return made


def _page(name: str) -> Response:
    text = files("query_api").joinpath("static", name).read_text(encoding="utf-8")
    return Response(text, media_type=_MEDIA_TYPES[name.rpartition(".")[2]], headers=_HEADERS)
