"""Python's cycle collector, kept from holding a process up."""

from __future__ import annotations

import gc

THRESHOLDS = 20_000, 20, 100
"""With 5,000 connections a full collection holds every poll up for a tenth of a second and more, and a projector under
full load all of its beats; by default there is one every few seconds. Neither polls nor events leave cycles."""


def spare() -> None:
    """Have it leave alone what is there now, the imports' above all, and look through the rest rarely."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
