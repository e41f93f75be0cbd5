"""The channel on which the leading projector hears requests."""

from __future__ import annotations

from redis.asyncio import Redis

from readmodel.keys import Keys
from readmodel.messages import ProjectorRequest, encode_request
from readmodel.redis_client import translated


class RequestLine:
    """Sends requests."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._channel = keys.requests

    async def send(self, request: ProjectorRequest) -> int:
        """Publish a request, and tell how many heard it; raises ViewUnavailable or AccessRefused."""
        with translated(self._redis):
            return int(await self._redis.publish(self._channel, encode_request(request)))
