"""uvicorn's own protocol of one connection, let go of when it has nothing in hand."""

from __future__ import annotations

import asyncio


def let_go(inner: asyncio.Protocol) -> None:
    """Tell it that the connection is over, and free what it keeps of its last request.

    Its parts know one another in circles, and the cycle collector looks rarely: what is not emptied here stays, a head
    of 64 kB and all that was parsed of it. Without an exception it ends its timers too.
    """
    inner.connection_lost(None)
    vars(inner).clear()
