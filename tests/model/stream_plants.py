"""Bugs to be planted against streams: the arrival log, and the cuts that say what it holds."""

from tests.model.planting import Plant

STREAM_PLANTS = {
    "what was open at a cut was given": Plant(
        "what a follower's cut lists as open is new to it",
        "stream.lua",
        "return id >= xmax or open[id]",
        "return id >= xmax",
        ("stay_open",),
    ),
    "a chunk with an open transaction has any follower's place": Plant(
        "a follower's place is behind a chunk whose cut its own covers",
        "stream.lua",
        "if id < theirs and not running[id] then return false end",
        "if id < 0 then return false end",
        ("stay_open",),
    ),
    "what arrived during a load is told of as of the load": Plant(
        "a put and what arrived meanwhile are as the last letters' snapshot shows",
        "projector.core.decide:_finish",
        "load.arrived, sessions.snapshot",
        "load.arrived, staged.snapshot",
        (),
    ),
}
