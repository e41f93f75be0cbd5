"""The channel on which the leading projector hears requests."""

from __future__ import annotations

from redis.asyncio import Redis

from readmodel.keys import Keys
from readmodel.messages import ProjectorRequest, encode_request
from readmodel.subscription import publish


class RequestLine:
    """Sends requests."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def send(self, request: ProjectorRequest) -> int:
        """Publish a request, and tell how many heard it; raises ViewUnavailable or AccessRefused."""
        return await publish(self._redis, self._keys, self._keys.requests, encode_request(request))
