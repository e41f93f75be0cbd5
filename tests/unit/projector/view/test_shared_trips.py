"""Batches of several slices that are ready at one moment share a round trip; each has its own reply, and doubt."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ResponseError, TryAgainError

from projector.view.shared_trips import BYTES_TOGETHER, MAX_TOGETHER, MAX_TRIPS, SharedTrips, SharingClient
from readmodel.redis.evaluate import Script
from readmodel.redis.servers import RedisServers
from tests.support.waiting import eventually


class Pipeline:
    """Notes what is sent, and to where; each reply is the command's last word, or what `wrong` has for it."""

    def __init__(self, servers: "Servers", node: str) -> None:
        self._servers = servers
        self._node = node
        self._commands: list[Sequence[Any]] = []

    def execute_command(self, *command: Any) -> None:
        self._commands.append(command)

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        servers = self._servers
        servers.sent.append((self._node, [command[-1] for command in self._commands]))
        await servers.gate.wait()
        if self._node in servers.away:
            raise RedisConnectionError("gone")
        return [servers.wrong.get(command[-1], command[-1]) for command in self._commands]


class Servers:
    """Two servers: even slots are on one, odd ones on the other. `gate` lets replies through."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Any]]] = []
        self.alone: list[Any] = []
        self.loaded: list[str] = []
        self.wrong: dict[Any, Exception] = {}
        self.away: set[str] = set()
        self.doubts: list[tuple[int, type[BaseException]]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def node(self, slot: int) -> str:
        """The server of a slot."""
        return "even" if slot % 2 == 0 else "odd"

    async def settle(self, slot: int) -> None:
        """Nothing is in doubt."""

    def doubt(self, slot: int, error: BaseException) -> None:
        """Note it."""
        self.doubts.append((slot, type(error)))

    def client(self, slot: int) -> Any:
        """A client that knows pipelines, single commands and scripts."""
        servers = self

        class Client:
            def pipeline(self, *, transaction: bool) -> Pipeline:
                assert not transaction
                return Pipeline(servers, servers.node(slot))

            async def execute_command(self, *command: Any) -> Any:
                servers.alone.append(command[-1])
                return command[-1]

            async def script_load(self, source: str) -> None:
                servers.loaded.append(source)
                servers.wrong.clear()

        return Client()


@pytest.fixture
def servers() -> Servers:
    """Two that answer."""
    return Servers()


@pytest.fixture
def trips(servers: Servers) -> SharedTrips:
    """Round trips to them."""
    return SharedTrips(cast("RedisServers", servers))


def client_of(servers: Servers, trips: SharedTrips, slot: int) -> SharingClient:
    """What a slice's script is sent by."""
    return SharingClient(cast("Redis", servers.client(slot)), slot, trips)


async def test_what_is_ready_in_one_turn_shares_a_round_trip_to_each_server(
    servers: Servers, trips: SharedTrips
) -> None:
    """And each is told its own reply."""
    replies = await asyncio.gather(*(trips.reply(slot, ("SET", slot, f"v{slot}")) for slot in range(4)))

    assert replies == ["v0", "v1", "v2", "v3"]
    assert servers.sent == [("even", ["v0", "v2"]), ("odd", ["v1", "v3"])]


async def test_who_comes_later_does_not_wait_for_what_is_under_way(servers: Servers, trips: SharedTrips) -> None:
    """A connection may hang while another works."""
    servers.gate.clear()
    first = asyncio.create_task(trips.reply(0, ("SET", "a")))
    await eventually(lambda: len(servers.sent) == 1, "the first is sent")
    second = asyncio.create_task(trips.reply(2, ("SET", "b")))
    await eventually(lambda: len(servers.sent) == 2, "the second is sent")
    servers.gate.set()

    assert list(await asyncio.gather(first, second)) == ["a", "b"]


async def test_round_trips_are_bounded_and_none_is_forgotten(servers: Servers, trips: SharedTrips) -> None:
    """In how many commands each has, and in how many are under way to one server."""
    servers.gate.clear()
    many = MAX_TOGETHER * MAX_TRIPS + 1
    asked = [asyncio.create_task(trips.reply(0, ("SET", str(number)))) for number in range(many)]
    await eventually(lambda: len(servers.sent) == MAX_TRIPS, "as many as may be are under way")
    before = [len(words) for _, words in servers.sent]
    servers.gate.set()

    assert await asyncio.gather(*asked) == [str(number) for number in range(many)]
    assert before == [MAX_TOGETHER] * MAX_TRIPS


async def test_long_batches_go_by_themselves(servers: Servers, trips: SharedTrips) -> None:
    """Who shares with them would wait for them."""
    long = "x" * (BYTES_TOGETHER - 2)
    await asyncio.gather(*(trips.reply(0, ("SET", word)) for word in ("a", long, "b")))

    assert servers.sent == [("even", ["a"]), ("even", [long]), ("even", ["b"])]


async def test_what_one_server_loses_is_doubted_by_those_who_asked_it_and_by_no_others(
    servers: Servers, trips: SharedTrips
) -> None:
    """Whether any of their batches was applied nobody knows; each sends its own again."""
    servers.away = {"odd"}
    asked = (trips.reply(slot, ("SET", f"v{slot}")) for slot in range(4))
    found = await asyncio.gather(*asked, return_exceptions=True)

    assert [found[0], found[2]] == ["v0", "v2"]
    assert [type(found[1]), type(found[3])] == [RedisConnectionError] * 2


async def test_what_a_server_refuses_one_slice_is_that_slices_alone(servers: Servers, trips: SharedTrips) -> None:
    """And it is its slot that may have moved."""
    servers.wrong = {"v2": TryAgainError("TRYAGAIN")}
    clients = [client_of(servers, trips, slot) for slot in (0, 2)]
    asked = [client.execute_command("SET", f"v{slot}") for client, slot in zip(clients, (0, 2), strict=True)]
    found = await asyncio.gather(*asked, return_exceptions=True)

    assert found[0] == "v0"
    assert isinstance(found[1], TryAgainError)
    assert servers.doubts == [(2, TryAgainError)]


async def test_a_batch_whose_slot_has_moved_is_sent_where_it_is(servers: Servers, trips: SharedTrips) -> None:
    """It was not run; the others of the round trip were, and are not sent again."""
    servers.wrong = {"v2": MovedError("7 127.0.0.1:7000")}
    asked = (client_of(servers, trips, slot).execute_command("SET", f"v{slot}") for slot in (0, 2))

    assert await asyncio.gather(*asked) == ["v0", "v2"]
    assert servers.alone == ["v2"]


async def test_a_server_that_does_not_know_the_script_is_told(servers: Servers, trips: SharedTrips) -> None:
    """As one that was restarted, or promoted."""
    servers.wrong = {"word": NoScriptError("NOSCRIPT")}
    replies = await Script(client_of(servers, trips, 0), "return 1").run([(["key"], ["word"])])

    assert (replies, servers.loaded) == (["word"], ["return 1"])


async def test_a_refusal_stands_in_the_place_of_a_scripts_reply(servers: Servers, trips: SharedTrips) -> None:
    """As it does for a client that shares with nobody."""
    servers.wrong = {"word": ResponseError("OOM")}
    (reply,) = await Script(client_of(servers, trips, 0), "return 1").run([(["key"], ["word"])])

    assert isinstance(reply, ResponseError)


async def test_who_leaves_takes_the_reply_from_nobody(servers: Servers, trips: SharedTrips) -> None:
    """A slice's term may end while others wait for the same round trip; what it asked later is not sent at all."""
    servers.gate.clear()
    leaving, staying = (asyncio.create_task(trips.reply(slot, ("SET", f"v{slot}"))) for slot in (0, 2))
    await eventually(lambda: bool(servers.sent), "both are sent")
    unsent = asyncio.create_task(trips.reply(1, ("SET", "unsent")))
    await asyncio.sleep(0)
    for task in (leaving, unsent):
        task.cancel()
    await asyncio.gather(leaving, unsent, return_exceptions=True)
    servers.gate.set()

    assert await staying == "v2"
    assert servers.sent == [("even", ["v0", "v2"])]


async def test_closing_ends_what_is_under_way(servers: Servers, trips: SharedTrips) -> None:
    """Whoever waits is told to end too, and what is asked afterwards is sent."""
    servers.gate.clear()
    waiting = asyncio.create_task(trips.reply(0, ("SET", "a")))
    await eventually(lambda: bool(servers.sent), "it is sent")
    await trips.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    servers.gate.set()

    assert await trips.reply(0, ("SET", "b")) == "b"
