"""What both FastAPI peers have in common: who may ask, what may be asked, and how they are served."""

import os
import sys
from secrets import compare_digest
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Query, Response

from bench.peers.process import prepare

Limit = Annotated[int, Query(ge=1, le=1000)]
Page = Annotated[int, Query(ge=1)]
_API_KEY = os.environ.get("BENCH_API_KEY", "").encode()


async def authorised(x_api_key: Annotated[str, Header()] = "") -> None:
    """Let in who has the key."""
    if not compare_digest(x_api_key.encode(), _API_KEY):
        raise HTTPException(401, "A key is wanted.")


def serve(app: FastAPI) -> None:
    """Serve until SIGTERM on the port that the command line names, by uvicorn set up as it is for the query API."""
    app.add_api_route("/ready", _ready)
    prepare()
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_level="warning",
    )


async def _ready() -> Response:
    return Response()
