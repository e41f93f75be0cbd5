"""What a projector says of itself: live only while as-of moves and Redis takes its batches."""

import time

import pytest

from projector.standing import standing
from projector.telemetry import Telemetry


@pytest.mark.parametrize(
    ("telemetry", "told"),
    [
        (Telemetry(role="leader", state="live", applied_at=time.monotonic() + 1e6), ("live", None)),
        (Telemetry(role="leader", state="live"), ("live", None)),
        (Telemetry(role="leader", state="live", reason="Redis is away."), ("waiting", "Redis is away.")),
        (Telemetry(role="leader", state="catching_up", reason="A new term."), ("catching_up", "A new term.")),
        (Telemetry(role="standby", state="waiting", applied_at=0.0), ("waiting", None)),
        (
            Telemetry(role="leader", state="live", applied_at=time.monotonic() - 1e6),
            ("waiting", "No heartbeat has come through PostgreSQL and Redis for 1.5 s."),
        ),
    ],
)
def test_the_state_and_its_sentence(telemetry: Telemetry, told: tuple[str, str | None]) -> None:
    """A standby's and a beginner's own; a leader's as the stores let it be."""
    assert standing(telemetry) == told
