"""A batch of letters, as the ledger gives it: by partition, with what the order guard has to look for."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from redrive.deadletters.letter_id import LetterId, generation, kafka_topic
from redrive.ledger.letter_queries import Subject

if TYPE_CHECKING:
    from redrive.deadletters.correction.copies import Copy

STREAM = "letters"
"""The stream of each unit, in the manner of `redrive.pump.proof`."""

SPARSE = 20_000
"""Offsets without a letter of the batch between two of it from which on it is cheaper to start reading anew."""


@dataclass(slots=True, eq=False)
class Unit:
    """The letters of a batch in one partition of a dead-letter topic. One is equal to itself only.

    Attributes:
        topic: as the ledger names it.
        offsets: of the letters, rising. Eight bytes each.
        written: the letters' own timestamps, in the same order: a record of another time is one of a later topic of the
            same name. Empty: not known, and not compared.
        doubles: offset of a letter that does not go, since another one of the same event does → why; see
            `redrive.deadletters.correction.doubles`.
        behind: offset of a letter that goes → those that would go in its place, in their order.
        copies: offset of a letter → its copies, in case that its topic no longer has it; see
            `redrive.deadletters.correction.copies`.
        only_corrected: letters of which an event that Kafka has refused is kept, which is not among their copies.
        follows: the unit before it has older letters of the same partition, which come first: of a dead-letter topic
            that has lost its end, and goes on under another name in the ledger.
    """

    cluster: str
    topic: str
    partition: int
    offsets: array[int] = field(default_factory=lambda: array("q"))
    written: array[int] = field(default_factory=lambda: array("q"))
    doubles: dict[int, str] = field(default_factory=dict)
    behind: dict[int, list[LetterId]] = field(default_factory=dict)
    copies: dict[int, Sequence[Copy]] = field(default_factory=dict)
    only_corrected: set[int] = field(default_factory=set)
    follows: bool = False

    @property
    def name(self) -> str:
        """The unit's name for the pump."""
        return unit_name(self.cluster, self.topic, self.partition)

    @property
    def kafka_topic(self) -> str:
        """The dead-letter topic, as Kafka names it."""
        return kafka_topic(self.topic)

    @property
    def kafka_partition(self) -> tuple[str, str, int]:
        """Cluster, topic and partition, as Kafka names them."""
        return self.cluster, self.kafka_topic, self.partition

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"

    def sort(self) -> None:
        """Bring the letters in order: they come by main topic."""
        order = sorted(range(len(self.offsets)), key=self.offsets.__getitem__)
        self.offsets = array("q", map(self.offsets.__getitem__, order))
        self.written = array("q", map(self.written.__getitem__, order))

    def has(self, offset: int) -> bool:
        """Say whether a letter stands there."""
        at = bisect_left(self.offsets, offset)
        return at < len(self.offsets) and self.offsets[at] == offset

    def is_letter(self, index: int, timestamp: int) -> bool:
        """Say whether a record of this time can be the letter at an index."""
        return not self.written or self.written[index] == timestamp

    def stretches(self, since: int) -> Iterator[tuple[int, int]]:
        """Give the offsets to read, from ``since`` on, as first and last + 1; long gaps are left out."""
        first = last = -1
        for offset in self.offsets:
            if offset < since:
                continue
            if first < 0:
                first = offset
            elif offset - last > SPARSE:
                yield first, last + 1
                first = offset
            last = offset
        if first >= 0:
            yield first, last + 1


@dataclass(slots=True)
class Wanted:
    """What the order guard has to look for on a main topic.

    Attributes:
        since: the time of the oldest letter's event; milliseconds since 1970.
    """

    keys: set[bytes] = field(default_factory=set)
    since: int = 1 << 62


class Batch:
    """The letters of one correction.

    Attributes:
        units: by cluster, topic and partition; of one partition, older letters come first.
        wanted: cluster and main topic → what to look for there. Each key is in memory once.
        letters: how many there are.
        out_of_reach: how many further ones are meant that stand on other clusters than ``clusters``. They are left.
        away: clusters whose letters are left, since they do not answer.
        no_answer: how many of those are meant, by cluster.
        on_two_clusters: how many letters are of events that have a letter on another cluster.
    """

    def __init__(
        self, letters: Iterable[Subject], *, clusters: Container[str] | None = None, away: Collection[str] = ()
    ) -> None:
        units: dict[tuple[str, str, int], Unit] = {}
        self.wanted: dict[tuple[str, str], Wanted] = {}
        self.letters = self.out_of_reach = 0
        self.away = sorted(away)
        self.no_answer: Counter[str] = Counter()
        self.on_two_clusters = 0
        for letter in letters:
            if clusters is not None and letter.cluster not in clusters:
                self.out_of_reach += 1
                continue
            if letter.cluster in away:
                self.no_answer[letter.cluster] += 1
                continue
            place = (letter.cluster, letter.topic, letter.partition)
            unit = units.get(place)
            if unit is None:
                unit = units[place] = Unit(*place)
            unit.offsets.append(letter.offset)
            unit.written.append(letter.written)
            main = (letter.cluster, letter.main_topic)
            wanted = self.wanted.get(main)
            if wanted is None:
                wanted = self.wanted[main] = Wanted()
            if letter.key is not None:
                wanted.keys.add(letter.key)
                wanted.since = min(wanted.since, letter.timestamp)
            self.letters += 1
        for unit in units.values():
            unit.sort()
        self.units = sorted(units.values(), key=lambda unit: (unit.kafka_partition, generation(unit.topic)))
        for before, unit in pairwise(self.units):
            unit.follows = before.kafka_partition == unit.kafka_partition

    def main_topics(self, cluster: str) -> list[str]:
        """Give the main topics of a cluster's letters; one may be empty: that of letters that do not say theirs."""
        return sorted(topic for of, topic in self.wanted if of == cluster)

    @property
    def clusters(self) -> list[str]:
        """The clusters on which letters stand."""
        return sorted({unit.cluster for unit in self.units})


def rounds(units: Iterable[Unit]) -> list[list[Unit]]:
    """Divide units so that those of one partition come one after the other: older letters first.

    Args:
        units: all of a batch, in its order.
    """
    found: list[list[Unit]] = []
    at = 0
    for unit in units:
        at = at + 1 if unit.follows else 0
        if at == len(found):
            found.append([])
        found[at].append(unit)
    return found


def topics_in(units: Iterable[Unit]) -> set[tuple[str, str]]:
    """Give the dead-letter topics of units: cluster, and name in Kafka."""
    return {(unit.cluster, unit.kafka_topic) for unit in units}


def unit_name(cluster: str, topic: str, partition: int) -> str:
    """Name the unit of a partition of a dead-letter topic, for the pump."""
    return f"dlq/{cluster}/{topic}/{partition}"


def origin_of(letter: LetterId) -> bytes:
    """Give what a correction puts into `SOURCE_HEADER` of whatever it has made of a letter."""
    return f"{unit_name(letter.cluster or '', letter.topic, letter.partition)}/{STREAM}/{letter.offset}/0".encode()
