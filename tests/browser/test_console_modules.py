"""The console's modules in Node, over elements that remember what they are told: states that a browser seldom sees."""

import re
from pathlib import Path

from tests.support.node import node_program, ran

CASES = Path(__file__).parent / "console/modules.test.js"


async def test_every_case_passes() -> None:
    """Clocks that step, sessions that are left while they answer, more events than are held."""
    said = await ran(node_program(), "--test-reporter=tap", CASES)

    assert re.search(r"^# fail 0$", said, re.MULTILINE), said
