"""The channels on which the leading projector hears requests."""

from __future__ import annotations

from collections.abc import Sequence

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.values.messages import ProjectorRequest, encode_request
from readmodel.view.reader import ViewReader
from readmodel.view.subscription import publish


class RequestLine:
    """Sends requests through one of the slices that the leader hears, `reporting`: the last that it heard one by."""

    def __init__(self, reporting: Sequence[ViewReader]) -> None:
        self._reporting = list(reporting)

    async def send(self, request: ProjectorRequest) -> int:
        """Publish a request, and tell how many heard it; raises ViewUnavailable or AccessRefused.

        Where nobody hears it, or Redis is away, it goes through the next slice.
        """
        failure: StoreUnavailable | StoreRefused | None = None
        answered = False
        for part in tuple(self._reporting):
            try:
                heard = await publish(part.redis, part.keys, part.keys.requests, encode_request(request))
            except (StoreUnavailable, StoreRefused) as error:
                failure = error
            else:
                answered = True
                if heard:
                    return heard
            self._put_off(part)
        if failure is not None and not answered:
            raise failure
        return 0

    def _put_off(self, part: ViewReader) -> None:
        """Ask a slice after the others from now on: another that sends meanwhile may have done so already."""
        if self._reporting[0] is part:
            self._reporting.append(self._reporting.pop(0))
