"""Letters of the same event: it is to be published again once, however many letters it has become.

A consumer that dies between its letter and the commit of its offsets writes the letter once more; several consumer
groups, or a connector beside them, have each a letter of an event that none of them can take. All of them read the main
topic: published from one letter, the event comes to all.

Which letters are of the same event is what the ledger says, see `redrive.ledger.letters.Letters.twins`. An event that
was published again and has failed again is another one in this: it was read from another place.

Where producers were switched from one topic to another, an event has a place in both, and its letters may name either:
those from before the switch the one, and those from after it the other. See `called_alike` for which topics are one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from redrive.deadletters.correction.batch import Batch, Unit
from redrive.deadletters.letter_id import LetterId
from redrive.ledger.letter_twins import Twin

SAME_EVENT = "same-event"
"""The reason of letters that are skipped since their event was published again from another letter."""

ANOTHER_FIRST = "another-first"
"""The reason of letters that are left since another letter of their event goes first, or may have gone."""

REASONS = {
    SAME_EVENT: "its event was published again already, from another letter of it; if that is wrong, name its id, "
    "with --fate skipped",
    ANOTHER_FIRST: "another letter of the same event goes first, or is doubtful; once that is published, the next "
    "correction gives this one up. To publish this one instead, select it without the other",
}


def mark_doubles(batch: Batch, groups: Iterable[Sequence[Twin]], settled: Container[LetterId] = frozenset()) -> None:
    """Note on a batch's units which letters are not to be published, since another one of their event is.

    It goes by what the ledger knows alone, so that a plan and its run, also one that goes on after a crash, agree.

    Args:
        batch: the letters.
        groups: the letters of each event that has several. A letter may be in several of them, if one has all of the
            others: those then come before it.
        settled: letters that only look open: nobody has entered yet what became of them.
    """
    units: dict[tuple[str | None, str, int], Unit] = {
        (unit.cluster, unit.topic, unit.partition): unit for unit in batch.units
    }
    for group in groups:
        inside: list[Twin] = []
        outside: list[Twin] = []
        for twin in group:
            unit = units.get(twin.letter[:3])
            (inside if unit is not None and unit.has(twin.letter.offset) else outside).append(twin)
        for twin, reason in _apart(inside, outside, settled):
            units[twin.letter[:3]].doubles[twin.letter.offset] = reason


def _apart(inside: list[Twin], outside: list[Twin], settled: Container[LetterId]) -> Iterator[tuple[Twin, str]]:
    """Say which of the letters of an event that are in the batch do not go, and why."""
    if any(twin.fate == "published" for twin in outside):
        yield from ((twin, SAME_EVENT) for twin in inside)
        return
    goes: Twin | None = None
    if not any(twin.fate == "doubtful" or twin.letter in settled for twin in outside):
        # One that is at home there needs no rules to be taken there, which might not take it.
        goes = min(inside, key=lambda each: (not each.correctable, each.moves, each.written, each.letter), default=None)
    yield from ((twin, ANOTHER_FIRST) for twin in inside if twin is not goes)
