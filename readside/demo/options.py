"""What is asked of a demo, and what its pieces share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from readside.demo.access import DemoAccess
from readside.demo.announcer import Announcer
from readside.settings import Settings


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What can be asked for.

    `port` is the API's, on the loopback interface; `data` keeps the servers' data for the next demo. `seed` begins the
    faults of chaos; None: there are none. `once` ends the demo with its first value.
    """

    port: int
    data: Path | None = None
    seed: int | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class DemoSetup:
    """One run: `home` is the directory of all that it writes; `stop` is set when it is to end."""

    announcer: Announcer
    settings: Settings
    access: DemoAccess
    home: Path
    options: DemoOptions
    stop: asyncio.Event
