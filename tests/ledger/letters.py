"""Dead letters as tests enter them in the ledger, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redrive.deadletters.dialects import Sighting
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger, Operation
from redrive.ledger.letter_writes import Reach

NOW = 1_793_500_000_007
HOUR = 3_600_000
ANY = Selection(fates=[])


def sighting(offset: int = 0, **changes: Any) -> Sighting:
    given: dict[str, Any] = {
        "cluster": "local",
        "topic": "dlq.flights",
        "partition": 0,
        "offset": offset,
        "timestamp": NOW + offset,
        "dialect": "own",
        "event_id": f"e-{offset}",
        "reason": "invalid-value",
        "cause": "",
        "field": "dep_time",
        "producer": "flights",
        "main_topic": "flights",
        "main_partition": None,
        "main_offset": None,
        "main_timestamp": NOW,
        "schema_id": 7,
        "attempts": 1,
        "key": b"UA",
        "size": 100,
        "correctable": True,
    }
    return Sighting(**(given | changes))


def begin(ledger: Ledger, job: str = "dlq-triage", operation_id: str | None = None) -> Operation:
    about: dict[str, Any] = {"cluster": "local", "resources": [], "who": "anna", "parameters": {}}
    return ledger.begin(job, "run", operation_id=operation_id, **about)


def fill(ledger: Ledger, letters: Iterable[Sighting]) -> Operation:
    """Record letters of partitions that nobody has read before."""
    letters = list(letters)
    operation = begin(ledger)
    partitions = {(each.cluster, each.topic, each.partition) for each in letters}
    ledger.letters.record(operation, letters, {partition: Reach(None, 2**62) for partition in partitions})
    return operation


def reach(begin: int | None, next: int) -> dict[tuple[str, str, int], Reach]:
    return {("local", "dlq.flights", 0): Reach(begin, next)}


def fate(offset: int, name: Any = "held", **more: Any) -> Fate:
    if name == "published":
        more |= {"topic": "flights", "partition": 1, "offset": 100 + offset}
    return Fate(LetterId("local", "dlq.flights", 0, offset), name, **more)


def offsets(ledger: Ledger, **selection: Any) -> list[int]:
    return [place.offset for place in ledger.letters.places(Selection(**selection))]
