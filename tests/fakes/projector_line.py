"""A line to a projector that only notes what it was asked."""

from dataclasses import dataclass, field

from readmodel.errors import ServiceError
from readmodel.values.messages import ProjectorRequest, Verb


@dataclass
class FakeLine:
    """Notes requests; `listeners` hear them."""

    listeners: int = 1
    error: ServiceError | None = None
    sent: list[ProjectorRequest] = field(default_factory=list)

    async def send(self, request: ProjectorRequest) -> int:
        """Take a request."""
        if self.error:
            raise self.error
        self.sent.append(request)
        return self.listeners

    def asked(self, verb: Verb) -> list[set[str]]:
        """The sessions of each request of a kind."""
        return [set(request.sessions) for request in self.sent if request.verb == verb]
