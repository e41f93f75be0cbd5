"""The pages for people, and the OpenAPI document: all from this package, nothing loaded from outside."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, lru_cache
from importlib.resources import files

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from query_api.http.conditional import matches
from query_api.openapi import document

_MEDIA_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "json": "application/json"}
_HEADERS = {
    "cache-control": "no-cache",
    # Trusted types are refused altogether: no text of an event can become markup, not even by a mistake of ours.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
}
CONSOLE = "index.html"


class File:
    """A file in memory, with a validator: pages ask for theirs again each time, and mostly hear 304."""

    def __init__(self, name: str, body: bytes) -> None:
        self.body = body
        self._media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        self._headers = {**_HEADERS, "etag": self._etag}

    def answer(self, request: Request) -> Response:
        """The file, or a 304 to who has it."""
        held = request.headers.get("if-none-match")
        if held is not None and matches(held.encode("latin-1"), self._etag.encode("ascii")):
            return Response(status_code=304, headers=self._headers)
        return Response(self.body, media_type=self._media_type, headers=self._headers)


class Pages:
    """The pages' routes; links in them are relative, so that they work under any prefix.

    `asks_key`: whether the console must ask its user for a key.
    """

    def __init__(self, root_path: str, *, asks_key: bool = True) -> None:
        console, static = dict(_files("console")), dict(_files("static"))
        self._at = {
            "/": File(CONSOLE, _filled_in(console.pop(CONSOLE).body, asks_key=asks_key)),
            "/docs": static.pop("docs.html"),
            "/openapi.json": _described(root_path),
            "/console/poller.js": console["poller.js"],
        }
        self._in = {
            "/console/client/{name}": _files("console/client"),
            "/console/{name}": console,
            "/static/{name}": static,
        }

    def routes(self) -> list[Route]:
        """Each page by its path, then the files that pages load."""
        return [
            *(Route(path, _serving(file)) for path, file in self._at.items()),
            *(Route(path, _serving_one_of(kept)) for path, kept in self._in.items()),
        ]


@cache
def _files(folder: str) -> Mapping[str, File]:
    inside = files("query_api").joinpath(folder).iterdir()
    return {found.name: File(found.name, found.read_bytes()) for found in inside if found.is_file()}


@lru_cache(maxsize=16)
def _described(root_path: str) -> File:
    return File("openapi.json", orjson.dumps(document(root_path), option=orjson.OPT_INDENT_2))


def _filled_in(page: bytes, *, asks_key: bool) -> bytes:
    """Tell the console whether to ask for a key: a request to find out would be an error in the browser's log."""
    return page.replace(b"{key}", b"asked" if asks_key else b"none")


def _serving(file: File) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return file.answer(request)

    return serve


def _serving_one_of(kept: Mapping[str, File]) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in kept:
            raise HTTPException(404)
        return kept[name].answer(request)

    return serve
