"""Triage: what came to a dead-letter topic since the last one is sighted and entered in the ledger. Never a payload.

A batch of letters and the positions that it reaches are recorded in one transaction: so it may be repeated, killed
anywhere, and run twice at once, and each letter is in the ledger once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from redrive.deadletters.dialects import Sighting, sight
from redrive.deadletters.generations import generations
from redrive.deadletters.letter_id import LetterId, generation, kafka_topic
from redrive.deadletters.reading import read_records, still_is
from redrive.ledger.letter_writes import Partition, Reach
from redrive.ledger.letters import PAGE, Letters
from redrive.ledger.operation import Operation
from redrive.pump.readback import ClientConfig, end_offsets, start_offsets


@dataclass(frozen=True, slots=True)
class Triaged:
    """What a triage of one topic has found.

    Attributes:
        cluster: the cluster's name.
        topic: the dead-letter topic.
        read: letters that were read.
        new: how many of them the ledger did not have.
        missed: offsets that were deleted before any triage had read them: at most so many letters.
        made_anew: partitions that end before the ledger's position, or where the last letter of the ledger is another
            one: the topic was deleted and made again. They are left alone, since their letters would have ids that
            others have already, until somebody accepts that: see `redrive.deadletters.accepting`.
    """

    cluster: str
    topic: str
    read: int = 0
    new: int = 0
    missed: int = 0
    made_anew: tuple[int, ...] = ()


def unread(client_config: ClientConfig, cluster: str, topic: str, letters: Letters) -> Triaged:
    """Tell what a triage of a topic would read, without reading it: ``read`` counts offsets, at most so many letters.

    Raises:
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster or the ledger does not answer.
    """
    return _Span(client_config, cluster, topic, letters).triaged()


def triage(
    client_config: ClientConfig,
    cluster: str,
    topic: str,
    letters: Letters,
    operation: Operation,
    *,
    on_progress: Callable[[int, int], None] = lambda _read, _total: None,
    page: int = PAGE,
) -> Triaged:
    """Enter in the ledger what came to a dead-letter topic since the last triage, to where it ends now.

    Args:
        client_config: the cluster.
        cluster: its name.
        topic: the dead-letter topic.
        letters: the ledger's.
        operation: who does this.
        on_progress: hears how many letters were read, and about how many there are to read, after each batch.
        page: letters of one batch; all are held in memory.

    Raises:
        StaleTriageError: another triage has read further meanwhile; begin again.
        FencedError: ``operation`` was taken over.
        UnknownTopicError: there is no such topic.
        UnavailableError: the cluster or the ledger does not answer; begin again later.
    """
    span = _Span(client_config, cluster, topic, letters)
    batch = _Batch(letters, operation, cluster, span.names, span.known)
    for name in sorted(set(span.names.values())):
        start, end = ({p: at for p, at in each.items() if span.names[p] == name} for each in (span.start, span.end))
        for records in read_records(client_config, cluster, name, start, end):
            batch.add([sight(record) for record in records])
            if len(batch) >= page:
                batch.record()
                on_progress(batch.read, span.total)
    batch.reach(span.end)
    batch.record()
    on_progress(batch.read, batch.read)
    return replace(span.triaged(), read=batch.read, new=batch.new)


def read_to(letters: Letters, cluster: str) -> dict[tuple[str, int], tuple[str, int]]:
    """Give how far triage has read: topic in Kafka, and partition → its last name in the ledger, and the offset."""
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for (_, name, partition), at in letters.positions(cluster).items():
        place = kafka_topic(name), partition
        if place not in found or generation(name) > generation(found[place][0]):
            found[place] = name, at
    return found


class _Span:
    """What there is to read of a topic: from the ledger's positions to where it ends now."""

    def __init__(self, client_config: ClientConfig, cluster: str, topic: str, letters: Letters) -> None:
        self._cluster, self._topic = cluster, topic
        known = {place[1]: each for place, each in read_to(letters, cluster).items() if place[0] == topic}
        self.known = {partition: at for partition, (_, at) in known.items()}
        ends, self._lows = end_offsets(client_config, topic), start_offsets(client_config, topic)
        # A position beyond the end is one of a topic of the same name that is gone.
        there = dict(enumerate(ends))
        beyond = {partition for partition, at in self.known.items() if at > there.get(partition, 0)}
        new = {partition for partition, at in self.known.items() if at < there.get(partition, 0)}
        newest = {
            partition: letter
            for name in {known[partition][0] for partition in new}
            for partition, letter in letters.newest(cluster, name).items()
            if partition in new and known[partition][0] == name
        }
        bare = {p for p in new if p not in newest and generation(known[p][0]) > 1}
        newest |= _older(letters, cluster, topic, bare) if bare else {}
        others = _others(client_config, cluster, topic, newest, self._lows)
        self._made_anew = tuple(sorted(beyond | others))
        self.end = {partition: offset for partition, offset in enumerate(ends) if partition not in self._made_anew}
        self.names = {partition: known.get(partition, (topic, 0))[0] for partition in self.end}
        self.start = {partition: self.known.get(partition, 0) for partition in self.end}
        self.total = sum(max(0, end - max(self.start[p], self._lows[p])) for p, end in self.end.items())

    def triaged(self) -> Triaged:
        missed = sum(max(0, self._lows[p] - self.start[p]) for p in self.end if p in self.known)
        return Triaged(self._cluster, self._topic, self.total, 0, missed, self._made_anew)


def _older(letters: Letters, cluster: str, topic: str, partitions: set[int]) -> dict[int, Sighting]:
    """Give the last letter that should stand there, of partitions whose last generation has none yet."""
    found: dict[int, Sighting] = {}
    for partition, parts in generations(letters, cluster, topic).items():
        if partition not in partitions:
            continue
        for part in parts:
            letter = letters.last_before(LetterId(cluster, part.topic, partition, part.end))
            if letter is not None:
                found[partition] = letter
                break
    return found


def _others(
    client_config: ClientConfig, cluster: str, topic: str, newest: Mapping[int, Sighting], lows: Sequence[int]
) -> set[int]:
    """Find the partitions in which another record stands in the place of the last letter that the ledger has there."""
    last = {p: letter for p, letter in newest.items() if letter.offset >= lows[p]}
    if not last:
        return set()
    start = {partition: letter.offset for partition, letter in last.items()}
    end = {partition: offset + 1 for partition, offset in start.items()}
    there = chain.from_iterable(read_records(client_config, cluster, topic, start, end))
    return {record.partition for record in there if not still_is(record, last[record.partition])}


class _Batch:
    """Letters that were read and are not recorded yet."""

    def __init__(
        self, letters: Letters, operation: Operation, cluster: str, names: Mapping[int, str], known: dict[int, int]
    ) -> None:
        self.read = self.new = 0
        self._letters, self._operation = letters, operation
        self._cluster, self._names = cluster, names
        self._recorded: dict[int, int] = dict(known)
        self._next: dict[int, int] = {}
        self._sightings: list[Sighting] = []

    def __len__(self) -> int:
        return len(self._sightings)

    def add(self, sightings: list[Sighting]) -> None:
        self._sightings += sightings
        self.read += len(sightings)
        self._next.update((sighting.partition, sighting.offset + 1) for sighting in sightings)

    def reach(self, end: dict[int, int]) -> None:
        """Go on to the ends: behind the last letter may stand what is no letter, such as a transaction's marker."""
        self._next.update(end)

    def record(self) -> None:
        reached: dict[Partition, Reach] = {
            (self._cluster, self._names[partition], partition): Reach(self._recorded.get(partition), at)
            for partition, at in self._next.items()
        }
        self.new += self._letters.record(self._operation, self._sightings, reached)
        self._recorded.update(self._next)
        self._next.clear()
        self._sightings.clear()
