"""The transport as uvicorn's protocol sees it. It works while that protocol has a request in hand, no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol


class Lender(Protocol):
    """Whoever has the real transport."""

    def lent(self) -> bool:
        """Whether uvicorn has a request in hand."""

    def write(self, data: Any) -> None:
        """Send bytes of an answer."""

    def close(self) -> None:
        """End the connection once what was written has left."""

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""


class Facade(asyncio.Transport):
    """A transport that can be taken away: uvicorn's timers then end nothing."""

    def __init__(self, lender: Lender, transport: asyncio.Transport) -> None:
        super().__init__()
        self._lender = lender
        self._transport = transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the socket."""
        return self._transport.get_extra_info(name, default)

    def write(self, data: Any) -> None:
        """Send bytes of an answer."""
        if self._lender.lent():
            self._lender.write(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send bytes of an answer."""
        for data in list_of_data:
            self.write(data)

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._lender.is_closing()

    def close(self) -> None:
        """End the connection; the keep-alive timer of a protocol that has nothing in hand ends nothing."""
        if self._lender.lent():
            self._lender.close()

    def pause_reading(self) -> None:
        """Do nothing: no more than one request is handed over at a time, and its size is bounded."""

    def resume_reading(self) -> None:
        """Do nothing: the same."""
