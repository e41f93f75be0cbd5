"""Faults of projectors: killed, frozen, and thawed sooner or later."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from projector.tail.letterbox import LEASE_SECONDS
from tests.oracle.site import Fault, Site
from tests.oracle.writers import wait

FREEZES_OF_ALL = 4
"""Of all weights together 81: of the 130 faults or so of a run of ten minutes six, though each takes so long."""


@dataclass
class ProcessFaults:
    """What can be done to our processes."""

    site: Site

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("kill -9 of the leader", self.kill_leader, 3),
            Fault("freeze of the leader", self.freeze_leader, 3),
            Fault("freeze shorter than taking over", self.freeze_shortly, 3),
            Fault("freeze of all projectors past their lease", self.freeze_all, FREEZES_OF_ALL, LEASE_SECONDS + 2),
        ]

    async def kill_leader(self) -> None:
        """SIGKILL; another one starts later."""
        site, place = self.site, await self.site.leader()
        child = site.service.projectors[place]
        site.service.killed.add(child.pid)
        child.kill()
        await child.exited()

        async def replace() -> None:
            site.service.start_projector(place)

        site.mends.append(replace)

    async def freeze_leader(self) -> None:
        """SIGSTOP; it wakes up when another one has taken over, and must do no harm."""
        child = self.site.service.projectors[await self.site.leader()]
        child.process.send_signal(signal.SIGSTOP)

        async def thaw() -> None:
            child.process.send_signal(signal.SIGCONT)

        self.site.mends.append(thaw)

    async def freeze_shortly(self) -> None:
        """It goes on as if nothing had been."""
        child = self.site.service.projectors[await self.site.leader()]
        child.process.send_signal(signal.SIGSTOP)
        await self.site.pause(2.5)
        child.process.send_signal(signal.SIGCONT)

    async def freeze_all(self) -> None:
        """Nobody renews the lease: writers skip letters, and who led thaws with its connection whole."""
        children = [child for child in self.site.service.projectors if child.running]
        for child in children:
            child.process.send_signal(signal.SIGSTOP)
        await wait(self.site.stop, LEASE_SECONDS + self.site.random.uniform(0, 2))
        for child in self.site.random.sample(children, len(children)):
            child.process.send_signal(signal.SIGCONT)
            await self.site.pause(0.3)
