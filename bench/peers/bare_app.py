"""The limit of our server: a bare ASGI app under uvicorn that gives fixed bytes. Run as `PORT FILE`.

uvicorn writes `date` itself, and is set up as it is for the query API.
"""

import sys
from pathlib import Path

import uvicorn

from bench.peers.fixed_bytes import FixedBytes


def main() -> None:
    """Serve until SIGTERM."""
    port, path = sys.argv[1:]
    uvicorn.run(
        FixedBytes(Path(path)),
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
