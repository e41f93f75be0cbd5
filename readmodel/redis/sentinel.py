"""The master that Sentinel knows.

redis-py's Sentinel asks one sentinel after another and believes the first: one that is cut off from the others still
names the old master. So all are asked, by its clients and in its words, and whoever knows of the latest failover is
believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import AuthenticationError, ReadOnlyError, ResponseError

from readmodel.redis.client import words
from readmodel.redis.moving import MovingServers, answers, why_nobody
from readmodel.redis.overrides import NodePool, OwnClient
from readmodel.redis.url import Address, RedisUrl, shown


class SentinelServers(MovingServers):
    """The one master of a service, which holds every key."""

    sharded = False
    check_seconds = 1.0

    def __init__(self, url: RedisUrl, open_node: Callable[[Address], NodePool], sentinels: Sentinel) -> None:
        super().__init__(open_node)
        self._sentinels = sentinels
        self._service = url.service
        self._master: Address | None = None
        self._epoch = 0
        self._nobody = url.nodes[0]  # nothing is sent before the master is known
        self.database = url.database
        self._name = f"the master of {url.service} that the sentinels at {url.hosts} know"

    @property
    def name(self) -> str:
        """Name the service by its sentinels."""
        return self._name

    def address(self, slot: int) -> Address:  # noqa: ARG002 (it has them all)
        """Tell who is taken to be the master."""
        return self._master or self._nobody

    def in_use(self) -> Iterable[Address]:
        """Keep the master."""
        return [self._master] if self._master else []

    def first_slots(self) -> Iterable[int]:
        """Slot 0 alone, since there is one master."""
        return [0]

    async def read(self) -> None:
        """Ask the sentinels who is the master, and that one whether it is."""
        said, wrong = await answers(map(self._ask, self._sentinels.sentinels))
        if not said:
            raise why_nobody(wrong)
        states = [state for state in said if state]
        latest = max((int(state["config-epoch"]) for state in states), default=0)
        if latest < self._epoch and len(said) < len(self._sentinels.sentinels):
            raise MasterNotFoundError("the sentinels that answer know less than those that did")
        found = [
            state
            for state in states
            if int(state["config-epoch"]) == latest and self._sentinels.check_master_state(state, self._service)
        ]
        if not found:
            raise MasterNotFoundError(f"the sentinels know no master of {self._service} that is up")
        # Who leads a failover names the old master until the other replicas follow, by the epoch of the new one.
        told = min(found, key=lambda state: "failover_in_progress" in state["flags"])
        master = told["ip"], int(told["port"])
        asked: Any = OwnClient.from_pool(self.pool_of(master))
        hello = await asked.execute_command("HELLO")  # the one command that no access list can refuse
        if b"master" not in (hello.values() if isinstance(hello, dict) else hello):
            raise ReadOnlyError(f"READONLY {shown(master)} is not the master yet")
        self._master, self._epoch = master, latest

    async def _ask(self, sentinel: Any) -> dict[str, Any] | None:
        with _told_by_a_sentinel():
            masters = await sentinel.sentinel_masters()
        found: dict[str, Any] | None = masters.get(self._service)
        return found

    async def identify(self) -> str:
        """Name the service, and the sentinels by the smallest of their ids, which they keep."""
        said, wrong = await answers(map(self._ids, self._sentinels.sentinels))
        ids = {one for ids in said for one in ids}
        if not ids:
            raise why_nobody(wrong)
        return f"sentinel/{min(ids)}/{self._service}/{self.database}"

    async def _ids(self, sentinel: Any) -> set[str]:
        with _told_by_a_sentinel():
            own: bytes = await sentinel.execute_command("SENTINEL MYID")
            others = await sentinel.sentinel_sentinels(self._service)
        return {own.decode(), *(other["runid"] for other in others)}

    async def aclose(self) -> None:
        """Close all connections, the sentinels' too."""
        await super().aclose()
        await self._sentinels.aclose()


@contextmanager
def _told_by_a_sentinel() -> Iterator[None]:
    """Say of a refusal that it is a sentinel's: it has a login of its own, and may be none at all."""
    try:
        yield
    except (AuthenticationError, ResponseError) as error:
        said = words(error)
        if said.startswith("unknown command"):
            raise ResponseError(
                "a server that READSIDE_REDIS_URL names as a sentinel is none: begin it with redis:// or rediss://"
            ) from error
        if isinstance(error, AuthenticationError) or said.startswith(("NOAUTH", "NOPERM")):
            raise AuthenticationError(
                f"a sentinel says {said}; its login is sentinel_username and sentinel_password in READSIDE_REDIS_URL"
            ) from error
        raise
