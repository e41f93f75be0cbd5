"""A Redis that is full and evicts nothing: sessions go cold, as-of goes on, and room comes back."""

from pathlib import Path

import pytest

from readmodel.view.reader import Cold
from tests.support.projecting import bench
from tests.support.servers import embedded_redis
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


async def test_a_full_redis_goes_on_with_fewer_sessions(database_url: str, tmp_path: Path) -> None:
    """At maxmemory under noeviction what grows is dropped; deletes and beats arrive; later all is well again."""
    server = embedded_redis(tmp_path, "--maxmemory-policy", "noeviction")
    await server.start()
    try:
        async with bench(database_url, server.url()) as stage, stage.projector() as telemetry:
            growing, quiet, purged = [await stage.writer.session() for _ in range(3)]
            for session_id in (growing, quiet, purged):
                await stage.writer.event(session_id)
                await stage.hot(session_id)
            await stage.caught_up()
            await stage.view.redis.config_set("maxmemory", "100kb")
            await stage.writer.event(growing)
            await stage.writer.delete_session(purged)
            await stage.caught_up()
            assert isinstance(await stage.read(growing), Cold)
            assert isinstance(await stage.read(purged), Cold)
            assert (await stage.same(quiet)).total == 1
            terms = telemetry.terms
            await stage.view.redis.config_set("maxmemory", "0")
            fresh = await stage.writer.session()
            await stage.hot(fresh)

            await eventually(lambda: telemetry.state == "live", "live")
            assert telemetry.terms == terms
    finally:
        await server.stop()
