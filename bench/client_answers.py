"""What the Python client takes to read an answer, beside the standard library's parser alone.

`PYTHONPATH=clients/python/src python -m bench.client_answers`; another version's `src` measures that one.
"""

import json
import time
from collections.abc import Callable
from uuid import UUID

from readside_client.protocol import answer_of

EVENTS = 200
ROUNDS = 200
HEADERS = {
    "x-poll-interval": "1",
    "readside-as-of": "2026-01-13T14:30:00.123456Z",
    "readside-source": "memory",
    "readside-lag-ms": "3",
}
ORDINARY = (
    '{"n": 7, "files": ["a.java", "b.java"], "step_code": "generate_tests", "new_status": "completed", '
    '"old_status": "in_progress", "duration_seconds": 45.67}'
)
PAYLOADS = {
    "ordinary events": ORDINARY,
    "among them one of 3,000 levels": "[" * 3_000 + "]" * 3_000,
    "among them one integer of 5,000 digits": "9" * 5_000,
    "among them a 1 MB array below 3,000 levels": "[" * 3_000 + ",".join([ORDINARY] * 7_000) + "]" * 3_000,
}


def answer(special: str) -> bytes:
    """An answer of ordinary events, and one that is not."""
    items = [
        f'{{"id":"{UUID(int=place)}","session_id":"{UUID(int=0)}","step_id":null,"event_type":"step_status_changed",'
        f'"event_data":{ORDINARY if place else special},"message":"Step generate_tests: in_progress → completed",'
        f'"timestamp":"2026-01-13T14:30:14.{place:06}Z"}}'
        for place in range(EVENTS)
    ]
    pagination = {
        "page": 1,
        "per_page": EVENTS,
        "total": EVENTS,
        "total_pages": 1,
        "has_next": False,
        "has_prev": False,
    }
    return f'{{"items":[{",".join(items)}],"total":{EVENTS},"pagination":{json.dumps(pagination)}}}'.encode()


def fastest(*ways: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The least seconds that each takes, in turns."""
    least = [float("inf")] * len(ways)
    for _ in range(rounds):
        for place, way in enumerate(ways):
            begun = time.perf_counter()
            way()
            least[place] = min(least[place], time.perf_counter() - begun)
    return least


def main() -> None:
    """Print a line for each kind of answer."""
    for name, special in PAYLOADS.items():
        body = answer(special)
        read = lambda body=body: answer_of(200, HEADERS, body)  # noqa: E731 (a way, named for the call)
        if special is ORDINARY:
            alone, reading = fastest(lambda body=body: json.loads(body), read)  # type: ignore[misc]
            print(f"json.loads alone, {EVENTS} events: {alone * 1e3:.2f} ms")
        else:
            (reading,) = fastest(read, rounds=10)
        print(f"{EVENTS} {name}: {reading * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
