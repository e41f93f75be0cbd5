"""One connection to a real Redis, which brings a script's reply and all that it published in one round trip.

A simulation runs hundreds of scripts. By redis-py's client and its PubSub each takes three round trips, and more of a
processor than what is simulated.
"""

import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

import hiredis
import redis
from redis._parsers.base import BaseParser

from readmodel.redis.overrides import pack

READ_BYTES = 2**16
DUMP = """
local told = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  told[#told + 1] = name
  told[#told + 1] = redis.call('DUMP', name)
end
return told
"""
_NOT_YET = object()


class Told(NamedTuple):
    """What commands gave: the last one's reply, which may be an error, and what they published, by channel."""

    reply: Any
    published: list[tuple[bytes, bytes]]


class Wire:
    """Subscribed to every channel, and in the protocol in which such a connection runs commands as well."""

    def __init__(self, client: "redis.Redis") -> None:
        """Connect to the server of a client, which listens at a path."""
        to = client.connection_pool.connection_kwargs
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(to["path"])
        self._reader = hiredis.Reader(replyError=BaseParser.parse_error, notEnoughData=_NOT_YET)
        self.run(("HELLO", 3, "AUTH", "default", to["password"]), ("PSUBSCRIBE", "*"))

    def run(self, *commands: Sequence[Any]) -> Told:
        """Run commands; a PING behind them has all that they published before its reply."""
        together = (*commands, ("PING",))
        self._socket.sendall(b"".join(piece for command in together for piece in pack(command)))
        replies: list[Any] = []
        published = []
        while not replies or replies[-1] != b"PONG":
            told = self._next()
            if not isinstance(told, hiredis.PushNotification):
                replies.append(told)
            elif told[0] == b"pmessage":
                published.append((told[2], told[3]))
        return Told(replies[-2] if len(replies) > 1 else None, published)

    def _next(self) -> Any:
        while (told := self._reader.gets()) is _NOT_YET:
            received = self._socket.recv(READ_BYTES)
            if not received:
                raise redis.ConnectionError("Redis has closed the model's connection.")
            self._reader.feed(received)
        return told

    def close(self) -> None:
        """Close it."""
        self._socket.close()
