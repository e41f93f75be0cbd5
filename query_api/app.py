"""The HTTP application: FastAPI's routes and error shapes, with the plain layer in front."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from query_api.doorway.layer import Layer
from query_api.http.problems import bad_request, broken, problem, problem_of
from query_api.operators import pages, routes
from query_api.service import Service
from readmodel.errors import InvalidParameter, ServiceError


def build_app(service: Service) -> Layer:
    """Build the ASGI application of one process. Lifespan is the composition root's business."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.include_router(routes.router)
    app.include_router(pages.router(service.config.root_path, asks_key=service.gate.asks))
    app.exception_handler(Exception)(_broken)
    app.exception_handler(routes.RequestRefusal)(_refused)
    app.exception_handler(ServiceError)(_failed)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid)
    return Layer(app, service.front, service.connections)


async def _broken(_: Request, __: Exception) -> Response:
    """Answer for a bug; the layer, to which Starlette raises it again, has it logged."""
    return routes.response(broken())


async def _refused(_: Request, error: routes.RequestRefusal) -> Response:
    return routes.response(error.reply)


async def _failed(_: Request, error: ServiceError) -> Response:
    return routes.response(problem_of(error))


async def _http_error(request: Request, error: HTTPException) -> Response:
    path = ascii(request.scope["path"][:200])[1:-1]  # a URL made of it would end at a `?` in it
    if error.status_code == 404:
        reply = problem(404, f"There is nothing at {path}.")
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET").replace("GET", "GET, HEAD")
        reply = problem(
            405, f"{path} accepts {allowed}, not {request.method}.", headers=[(b"allow", allowed.encode("ascii"))]
        )
    else:
        reply = problem(error.status_code, f"The request cannot be served: {error.detail}.")
    return routes.response(reply)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return routes.response(bad_request(InvalidParameter(name, f"{name} is not acceptable: {first['msg']}.")))
