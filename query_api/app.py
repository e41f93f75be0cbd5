"""The HTTP application: Starlette's routes and our error shapes, with the plain layer in front."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from query_api.doorway.layer import Layer
from query_api.http.problems import broken, problem, problem_of
from query_api.operators.pages import Pages
from query_api.operators.routes import Operations, RequestRefusal, response
from query_api.service import Service
from readmodel.errors import ServiceError


def build_app(service: Service) -> Layer:
    """Build the ASGI application of one process. Lifespan is the composition root's business."""
    pages = Pages(service.config.root_path, asks_key=service.gate.asks)
    app = Starlette(routes=[*Operations(service).routes(), *pages.routes()])
    app.router.redirect_slashes = False
    app.add_exception_handler(Exception, _broken)
    app.add_exception_handler(RequestRefusal, _refused)
    app.add_exception_handler(ServiceError, _failed)
    app.add_exception_handler(HTTPException, _http_error)
    return Layer(app, service.front, service.connections)


async def _broken(_: Request, __: Exception) -> Response:
    """Answer for a bug; the layer, to which Starlette raises it again, has it logged."""
    return response(broken())


async def _refused(_: Request, error: Any) -> Response:
    return response(error.reply)


async def _failed(_: Request, error: Any) -> Response:
    return response(problem_of(error))


async def _http_error(request: Request, error: Any) -> Response:
    """Answer for a path that is not there, or that has no such method: Starlette raises nothing else."""
    path = ascii(request.scope["path"][:200])[1:-1]  # a URL made of it would end at a `?` in it
    if error.status_code != 405:
        return response(problem(404, f"There is nothing at {path}."))
    allowed = ", ".join(sorted((error.headers or {})["Allow"].split(", ")))
    detail = f"{path} accepts {allowed}, not {request.method}."
    return response(problem(405, detail, headers=[(b"allow", allowed.encode("ascii"))]))
