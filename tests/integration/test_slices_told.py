"""A view of eight slices as operators see it: status, explain, warm, rebuild, verify, doctor, and what they refuse."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from structlog.testing import capture_logs

from projector.telemetry import Telemetry
from readmodel.errors import ForeignView
from readmodel.redis.servers import OneServer
from readmodel.values.ids import parse_session_id
from readmodel.view.projection import read_projection
from readmodel.view.whole import WholeView
from readside.commands import doctor as doctoring
from readside.commands import explain as explaining
from readside.commands import sessions, status
from readside.settings import Settings
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SLICES = 8
RUNBOOK = (Path(__file__).parents[2] / "specs" / "runbook.md").read_text()


@dataclass
class Sliced:
    """The writer, the view whole, and a projector that leads it; the commands are set to the same stores."""

    stage: Bench
    view: WholeView
    projector: Telemetry
    capsys: pytest.CaptureFixture[str]

    async def hot(self, index: int) -> str:
        """A hot session of two events in this slice."""
        session_id = next(sid for sid in iter(lambda: str(uuid4()), "") if self.view.slices.index_of(sid) == index)
        await self.stage.writer.connection.execute(
            """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
               VALUES ($1::uuid, 'chat', 'in_progress', 'auto', '/p', '{}', now(), now())""",
            session_id,
        )
        await self.stage.writer.events(session_id, 2)

        async def there() -> bool:
            (header,) = await self.view.headers([session_id])
            return header is not None and header.count == 2

        await eventually(there, f"{session_id} is hot")
        return session_id

    async def take_away(self, index: int) -> None:
        """Put another's data in the place of a slice's position, and wait until the leader tells of it."""
        redis: Any = self.stage.view.redis
        position = self.view.parts[index].keys.position
        await redis.eval("redis.call('DEL', KEYS[1]); redis.call('SET', KEYS[1], 'other')", 1, position)
        await self.becomes(f"1 of 8 slices is away ({index}): ", "down")

        async def reported() -> bool:
            leader = (await read_projection(self.view, 5.0)).leader or {}
            return [one["slice"] for one in leader.get("slices", ())] == [index]

        await eventually(reported, "the leader tells of it")

    async def bring_back(self, index: int) -> None:
        """Take it away again, and wait until all is live."""
        redis: Any = self.stage.view.redis
        await redis.delete(self.view.parts[index].keys.position)
        await self.becomes(None, "live")

    async def becomes(self, words: str | None, expected: str) -> None:
        """Wait until the projection has this status and such a reason."""

        async def reached() -> bool:
            projection = await read_projection(self.view, 5.0)
            return projection.status == expected and (words or "") in str(projection.reason)

        await eventually(reached, f"{expected}: {words}")

    async def status(self) -> dict[str, Any]:
        """What `readside status --json` prints."""
        self.capsys.readouterr()
        await status.status(Settings(), as_json=True)
        told: dict[str, Any] = orjson.loads(self.capsys.readouterr().out)
        return told

    async def explained(self, session_id: str) -> dict[str, Any]:
        """What `readside explain --json` prints."""
        self.capsys.readouterr()
        await explaining.explain(Settings(), session_id, None, json=True)
        told: dict[str, Any] = orjson.loads(self.capsys.readouterr().out)
        return told


@pytest.fixture
async def sliced(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Sliced]:
    """Live."""
    monkeypatch.setenv("READSIDE_REDIS_URL", redis_url)
    monkeypatch.setenv("READSIDE_DATABASE_URL", database_url)
    monkeypatch.setenv("READSIDE_SLICES", str(SLICES))
    with capture_logs():  # what the projector says meanwhile is no part of what a command prints
        async with bench(database_url, redis_url) as stage, stage.projector(slices=SLICES) as projector:
            made = Sliced(stage, WholeView(OneServer(stage.view.redis), "readside", SLICES), projector, capsys)
            await made.becomes(None, "live")
            yield made


async def test_status_tells_of_each_slice(sliced: Sliced) -> None:
    """As machines read it, and in one line while all are live."""
    await sliced.hot(3)
    told = await sliced.status()
    await status.status(Settings(), as_json=False)
    lines = sliced.capsys.readouterr().out

    assert [one["slice"] for one in told["slices"]] == list(range(SLICES))
    assert {one["status"] for one in told["slices"]} == {"live"}
    assert told["as_of"] == min(one["as_of"] for one in told["slices"])
    assert told["lag_ms"] == max(one["lag_ms"] for one in told["slices"])
    assert told["hot_sessions"] == sum(one["hot_sessions"] for one in told["slices"]) == 1
    assert told["leader"]["slices_count"] == SLICES
    assert told["leader"]["slices"] == []
    assert "8 on 1 node, all live" in lines


async def test_one_slice_that_is_down_is_named_and_the_others_go_on(sliced: Sliced) -> None:
    """Its key holds another's data; when that is gone the slice comes back by itself."""
    session_id, other = await sliced.hot(5), await sliced.hot(2)
    await sliced.take_away(5)
    told = await sliced.status()
    await sliced.stage.writer.events(other, 1)
    about_other = await sliced.explained(other)
    await status.status(Settings(), as_json=False)
    lines = sliced.capsys.readouterr().out

    assert [one["status"] for one in told["slices"]] == ["live"] * 5 + ["down"] + ["live"] * 2
    assert told["slices"][5]["as_of"] == told["as_of"]
    assert (
        told["lag_ms"]
        == told["slices"][5]["lag_ms"]
        > max(one["lag_ms"] for one in told["slices"] if one["slice"] != 5)
    )
    assert about_other["slice"]["status"] == "live"
    assert "8 on 1 node, 1 not live" in lines
    assert "slice 5 " in lines

    await sliced.bring_back(5)
    assert (await sliced.explained(session_id))["slice"]["slice"] == 5


async def test_explain_says_which_slice_a_session_is_in(sliced: Sliced) -> None:
    """And on which server, and how that slice is."""
    session_id = await sliced.hot(6)
    told = await sliced.explained(session_id)

    assert (told["slice"]["slice"], told["slice"]["status"]) == (6, "live")
    assert told["explanation"][1] == f"It is in slice 6 of 8, on {sliced.view.node(6)}, which is live."
    assert (told["hot"], told["same"]) == (True, True)


async def test_rebuild_warm_and_verify_reach_every_slice(sliced: Sliced) -> None:
    """One request names sessions of all; what differs in one is found and repaired."""
    hot = [await sliced.hot(index) for index in range(SLICES)]
    rebuilt = await sessions.rebuild(Settings(), (), everything=True)
    warmed = await sessions.warm(Settings(), hot)
    redis: Any = sliced.stage.view.redis
    keys = sliced.view.slices.of(hot[4])
    await redis.zremrangebyrank(keys.events(hot[4]), 0, 0)
    sliced.capsys.readouterr()
    found = await sessions.verify(Settings(), (), repair=True, as_json=True)
    told = orjson.loads(sliced.capsys.readouterr().out)
    again = await sessions.verify(Settings(), (), repair=False, as_json=True)

    assert (rebuilt, warmed, found, again) == (0, 0, 1, 0)
    assert [one["session_id"] for one in told["different"]] == [hot[4]]
    assert told["repaired"] == {hot[4]: "hot"}
    assert told["compared"] == SLICES


async def test_while_a_slice_is_away_the_others_are_compared(sliced: Sliced) -> None:
    """Named or not; what could not be compared is said, and by the exit code too; not to who did not ask for it."""
    hot = [await sliced.hot(index) for index in range(SLICES)]
    await sliced.take_away(5)
    sliced.capsys.readouterr()
    codes = [await sessions.verify(Settings(), names, repair=False, as_json=True) for names in ((), hot, hot[:5])]
    out, err = sliced.capsys.readouterr()

    assert codes == [2, 2, 0]
    told = [orjson.loads(line) for line in out.replace("}\n{", "}\0{").split("\0")]
    assert [(one["compared"], list(one["not_compared"])) for one in told] == [(7, ["5"]), (7, ["5"]), (5, [])]
    assert err.count("Slice 5 was not compared: ") == 2


async def test_work_that_waits_for_a_slice_says_so(sliced: Sliced, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends when that is back."""
    monkeypatch.setattr(sessions, "STALLED_SECONDS", 0.3)
    session_id = await sliced.hot(5)
    await sliced.take_away(5)
    working = asyncio.create_task(sessions.rebuild(Settings(), [session_id], everything=False))
    said: list[str] = []

    def waits() -> bool:
        said.append(sliced.capsys.readouterr().err)
        return "Waiting: 1 of 8 slices is away (5): " in "".join(said)

    await eventually(waits, "it says what it waits for")
    await sliced.bring_back(5)

    assert await working == 0


async def test_another_number_of_slices_is_refused_by_name(sliced: Sliced, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every command that reads the view."""
    monkeypatch.setenv("READSIDE_SLICES", "4")
    told = await sliced.status()
    words = "another READSIDE_SLICES: the view has 8, and this process is set to 4"
    with pytest.raises(ForeignView, match=words):
        await sessions.verify(Settings(), (parse_session_id(str(uuid4())),), repair=False, as_json=True)

    assert told["status"] == "down"
    assert words in told["reason"]


async def test_doctor_counts_the_slices(sliced: Sliced) -> None:
    """On how many nodes, and that all are live."""
    sliced.capsys.readouterr()
    await doctoring.doctor(Settings(), [], as_json=True)
    findings = {one["check"]: one for one in orjson.loads(sliced.capsys.readouterr().out)}

    assert (findings["slices"]["state"], findings["slices"]["detail"]) == ("ok", "8 on 1 node, all live")
    assert findings["view"]["state"] == "ok"


async def test_the_number_of_slices_is_changed(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Refused by name while the old view moves; once that stands still the new one begins. A script clears the rest."""
    async with bench(database_url, redis_url) as stage:
        redis: Any = stage.view.redis
        four, two = (WholeView(OneServer(redis), "readside", count) for count in (4, 2))
        async with stage.projector(slices=4):
            await eventually(lambda: is_live(four), "the view of four slices is live")
        async with stage.projector(slices=2) as told:
            refused = "another READSIDE_SLICES: the view has 4, and this process is set to 2"
            await eventually(lambda: refused in str(told.reason), "it is refused")
            for part in four.parts:
                await redis.hincrby(part.keys.position, "as_of_at", -10_000_000)
            await eventually(lambda: is_live(two), "the view of two slices is live")
        there = {part.keys.position.encode() for part in four.parts} & set(await redis.keys("*:position"))
        await cleared(redis_url, tmp_path)

        assert len(there) == 4
        assert set(await redis.keys("*:position")) == {part.keys.position.encode() for part in two.parts}


async def is_live(view: WholeView) -> bool:
    """Whether all is well with it."""
    return (await read_projection(view, 5.0)).status == "live"


async def cleared(redis_url: str, directory: Path) -> None:
    """Run the runbook's script for two slices; not every machine has redis-cli."""
    (script,) = re.findall(r"```sh\n(redis-cli --scan.*?)```", RUNBOOK, re.DOTALL)
    client = directory / "redis-cli"
    client.write_text(REDIS_CLI)
    client.chmod(0o700)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", "PYTHON": sys.executable, "REDIS_URL": redis_url}
    process = await asyncio.create_subprocess_exec("sh", "-ec", script.replace("4/32", "4/2"), env=environment)
    assert await process.wait() == 0


REDIS_CLI = """#!/bin/sh
exec "$PYTHON" -c '
import os, redis, sys
client, words = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True), sys.argv[1:]
print("\\n".join(client.keys(words[2])) if words[0] == "--scan" else client.execute_command(*words))
' "$@"
"""
