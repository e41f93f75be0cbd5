"""Sessions of a given slice."""

from itertools import count

from readmodel.view.slices import Slices


def session_in(slices: Slices, index: int, place: int = 0) -> str:
    """The id of a session in a slice; `place` tells several apart."""
    ids = (f"{number:08x}-0000-4000-8000-000000000000" for number in count(1))
    found = (session_id for session_id in ids if slices.index_of(session_id) == index)
    return next(session_id for nth, session_id in enumerate(found) if nth == place)
