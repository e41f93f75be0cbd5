"""Proxies before the buses of a cluster's nodes, by which a node can be cut off from the others."""

import asyncio
from threading import Thread


class Bus:
    """All proxies of a cluster, in a thread of their own: a busy test holds up no heartbeats."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cut_off: set[str] = set()
        self._proxies: list[asyncio.Server] = []
        self._links: dict[asyncio.Task[None], tuple[str, str]] = {}

    async def proxy(self, host: str, port: int) -> int:
        """Put a proxy before a node's bus; gives the port to be called instead."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = Thread(target=self._loop.run_forever, name="the cluster's bus")
            self._thread.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._open(host, port), self._loop))

    def cut(self, host: str) -> None:
        """End the node's links, both ways, and let no other begin."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._cut, host)

    def mend(self) -> None:
        """Let all nodes reach each other again."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut_off.clear)

    async def stop(self) -> None:
        """End all links, and the thread."""
        if self._loop is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _open(self, host: str, port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ends = writer.get_extra_info("peername")[0], host
            task = asyncio.current_task()
            assert task is not None
            self._links[task] = ends
            try:
                if not self._cut_off.intersection(ends):
                    await _pass_on(reader, writer, host, port)
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                writer.transport.abort()
                del self._links[task]

        proxy = await asyncio.start_server(serve, host, 0)
        self._proxies.append(proxy)
        heard_at: int = proxy.sockets[0].getsockname()[1]
        return heard_at

    def _cut(self, host: str) -> None:
        self._cut_off.add(host)
        for link, ends in self._links.items():
            if host in ends:
                link.cancel()

    async def _close(self) -> None:
        for proxy in self._proxies:
            proxy.close()
        # A connection that was just accepted is no link yet: it becomes one first, and ends with its socket closed.
        while asyncio.all_tasks() - {asyncio.current_task()}:
            for link in self._links:
                link.cancel()
            await asyncio.sleep(0)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    answers, server = await asyncio.open_connection(host, port)
    try:
        pumps = [asyncio.ensure_future(_pump(reader, server)), asyncio.ensure_future(_pump(answers, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
    finally:
        server.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
