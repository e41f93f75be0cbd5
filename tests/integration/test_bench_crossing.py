"""The files that an event crosses are traced in a real projector."""

from bench.crossing import crossed
from bench.stack import ROOT


async def test_the_way_of_an_event_is_traced() -> None:
    """Every file of it is one of this tree; what runs by the clock is none, nor what ran before the event."""
    files = await crossed(ROOT)

    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert {file.partition("/")[0] for file in files} >= {"projector", "readmodel"}
    assert {"projector/report.py", "readside/cli.py"}.isdisjoint(files)
