"""A request for what one session has, as it came in, and what is made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from query_api.access.principals import Principal
from query_api.http.reply import NO_FIELDS, HeaderFields
from query_api.http.request_fields import RequestFields
from query_api.memory.content_coding import accepts_gzip
from query_api.memory.staleness import Staleness, wishes
from readmodel.errors import InvalidParameter
from readmodel.values.parameters import MOST_WRONG

T = TypeVar("T")


class SessionRequest(ABC):
    """`session_id` and `query_string` as they stand in its target. What is made of it is kept.

    Asked again it is not checked and parsed again, as long as the gate lets in whom it let in then. `name` is the id
    that its caller gave it, None where there is none; `common` are the fields that all answers to its page bear.
    """

    __slots__ = (
        "asked_session",
        "common",
        "edition",
        "fields",
        "if_none_match",
        "is_long",
        "method",
        "name",
        "principal",
        "query_string",
        "session_id",
        "takes_gzip",
        "until",
        "wanted",
    )

    asked_session: str
    """The session's id as it was understood."""
    principal: Principal
    wanted: Staleness

    def __init__(
        self,
        method: str,
        session_id: str,
        query_string: bytes,
        fields: RequestFields,
        name: bytes | None = None,
        common: HeaderFields = NO_FIELDS,
    ) -> None:
        self.method = method
        self.session_id = session_id
        self.query_string = query_string
        self.fields = fields
        self.name = name
        self.common = common
        self.if_none_match = fields.get(b"if-none-match")
        self.takes_gzip = b"accept-encoding" in fields and accepts_gzip(fields[b"accept-encoding"])
        self.edition: object = None
        self.is_long = False
        """Whether an answer to it was long."""
        self.until = 0.0
        """The monotonic second when its token ends."""

    @property
    @abstractmethod
    def path(self) -> str:
        """What it asks for."""

    @property
    @abstractmethod
    def comes_again(self) -> bool:
        """Whether what is made of it is worth keeping."""

    def understood(self, parse: Callable[[str, bytes], T], usual: Staleness) -> T:
        """Parse the target, and what the fields wish; raises InvalidParameter, which names all that is wrong."""
        wanted, wrong = wishes(self.fields, usual)
        try:
            parsed = parse(self.session_id, self.query_string)
        except InvalidParameter as error:
            raise InvalidParameter.all_of([error, *error.others, *wrong][:MOST_WRONG]) from None
        if wrong:
            raise InvalidParameter.all_of(wrong)
        self.wanted = wanted
        return parsed

    @abstractmethod
    def parse(self, usual: Staleness) -> str:
        """Understand it, where it is silent as `usual`, and give the session's id.

        Raises InvalidParameter, which names all that is wrong.
        """
