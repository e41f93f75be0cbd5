"""The limit of our server: a bare ASGI app under uvicorn that gives fixed bytes. Run as `PORT FILE`.

uvicorn writes `date` itself; it and its process are set up as they are for the query API.
"""

import sys
from pathlib import Path

import uvicorn

from bench.peers.fixed_bytes import FixedBytes
from bench.peers.process import prepare


def main() -> None:
    """Serve until SIGTERM."""
    port, path = sys.argv[1:]
    prepare()
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
