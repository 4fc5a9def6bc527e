"""Which letters the topic's retention takes before anybody has seen to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from redrive.deadletters.letter_id import Place


class Keeps(msgspec.Struct, frozen=True):
    """What a partition of a dead-letter topic keeps.

    Attributes:
        start: its log start offset now.
        retention_ms: ``retention.ms`` of its topic; negative: for ever.
    """

    start: int
    retention_ms: int


class Loss(msgspec.Struct, frozen=True):
    """Letters of one partition, and how long they will be there.

    Attributes:
        letters: those that are still there.
        lost: those that are gone.
        first_at: when the first of those still there can be deleted; None: never. It may be past: Kafka deletes whole
            segments, so that a letter may stay for longer, but never goes before its time. (Of the time: a topic with
            ``retention.bytes`` or compaction may lose letters at any time.)
        due: for each of the horizons asked for, how many of those still there can be deleted before it has passed.
    """

    cluster: str
    topic: str
    partition: int
    letters: int
    lost: int
    first_at: datetime | None
    due: tuple[int, ...]


class _Tally:
    def __init__(self, horizons: int) -> None:
        self.letters = self.lost = 0
        self.first: int | None = None
        self.due = [0] * horizons


def losses(
    letters: Iterable[Place],
    keeps: Mapping[tuple[str, str, int], Keeps],
    now: datetime,
    horizons: Sequence[timedelta] = (timedelta(hours=1), timedelta(days=1), timedelta(days=7)),
) -> list[Loss]:
    """Give what retention has taken, and will take, of letters; by cluster, topic and partition.

    Args:
        letters: those that somebody needs to see to, in any order; they are gone through once.
        keeps: by cluster, dead-letter topic and partition; *every* partition that exists: of one that does not, all
            letters are lost.
        now: with a time zone.
        horizons: from now.
    """
    epoch = datetime.fromtimestamp(0, now.tzinfo)
    ends = [(now + horizon - epoch) // timedelta(milliseconds=1) for horizon in horizons]
    tallies: dict[tuple[str, str, int], _Tally] = {}
    for letter in letters:
        partition = (letter.cluster, letter.topic, letter.partition)
        tally = tallies.get(partition)
        if tally is None:
            tally = tallies[partition] = _Tally(len(ends))
        kept = keeps.get(partition)
        if kept is None or letter.offset < kept.start:
            tally.lost += 1
            continue
        tally.letters += 1
        if kept.retention_ms < 0:
            continue
        goes = letter.timestamp + kept.retention_ms
        tally.first = goes if tally.first is None else min(tally.first, goes)
        for at, end in enumerate(ends):
            tally.due[at] += goes < end
    return [
        Loss(*partition, tally.letters, tally.lost, _moment(epoch, tally.first), tuple(tally.due))
        for partition, tally in sorted(tallies.items())
    ]


def _moment(epoch: datetime, milliseconds: int | None) -> datetime | None:
    """Give a moment; None for one beyond what a datetime can hold, such as that of a retention of 2⁶³ − 1 ms."""
    try:
        return None if milliseconds is None else epoch + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None
