"""Letters that their topic no longer has, read from their copies in the parking topic, which keeps all that it gets.

A copy is made when a letter has failed too often: as it was, with one attempt more (`letter_again`). Of a letter
whose corrected event Kafka has refused, there is that event alone: enough for a person to go on with, but not for
rules, which would be applied twice. Where a copy stands is in the ledger, in the fate that made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Message

from redrive.deadletters.correction.batch import Batch, origin_of
from redrive.deadletters.correction.settling import REFUSED
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter import RAW
from redrive.deadletters.letter_id import LetterId, Place
from redrive.deadletters.reading import read_record, still_is
from redrive.errors import UnknownTopicError
from redrive.events import Headers, headers_of
from redrive.ledger.letter_queries import Story
from redrive.pump.names import JOB_HEADERS, PARKING_TOPIC, SOURCE_HEADER
from redrive.pump.pump import REASON_HEADER, TOPIC_HEADER
from redrive.pump.readback import ClientConfig, end_offsets, scan

if TYPE_CHECKING:
    from redrive.ledger.letters import Letters

ONLY_CORRECTED = "only-corrected"
"""The reason of letters that are left since all that is there of them is an event that Kafka has refused."""

_ATTEMPT, _ENCODING, _TIMESTAMP = "redrive-attempt", "redrive-encoding", "redrive-timestamp"
_AT_ONCE = 500  # copies in memory
_SPARSE = 20_000
"""Records between two copies from which on it is cheaper to start reading anew."""


class Copy(NamedTuple):
    """Where in the parking topic the copy of a letter stands.

    Attributes:
        is_whole: it is the letter; else only what a correction had made of it, and Kafka has refused.
    """

    partition: int
    offset: int
    is_whole: bool

    @classmethod
    def all_of(cls, fates: Iterable[Fate]) -> list[Copy]:
        """Find the copies of a letter by its fates, oldest first: whole ones come before the others."""
        copies = [
            cls(fate.partition, fate.offset, fate.reason != REFUSED)
            for fate in fates
            if fate.name == "parked" and fate.topic == PARKING_TOPIC
            if fate.partition is not None and fate.offset is not None
        ]
        return sorted(copies, key=lambda copy: not copy.is_whole)

    def __str__(self) -> str:
        return f"{PARKING_TOPIC}/{self.partition}/{self.offset}"


def note_copies(batch: Batch, letters: Letters, *, by_hand: bool = False) -> None:
    """Note on a batch's units where copies of their letters stand, for those that their topics no longer have.

    Args:
        batch: the letters.
        letters: the ledger's.
        by_hand: a person sees each value; so events that Kafka has refused may stand for their letters.
    """
    for unit in batch.units:
        parked: defaultdict[int, list[Fate]] = defaultdict(list)
        for fate in letters.parked((unit.cluster, unit.topic, unit.partition)):
            if unit.has(fate.letter.offset):
                parked[fate.letter.offset].append(fate)
        for offset, fates in parked.items():
            copies = Copy.all_of(fates)
            if some := [copy for copy in copies if copy.is_whole or by_hand]:
                unit.copies[offset] = some
            if len(some) < len(copies):
                unit.only_corrected.add(offset)


def without_copy(places: Iterable[Place], letters: Letters) -> Iterator[Place]:
    """Leave out letters that have a whole copy, whatever became of them after that: a correction still takes them.

    Args:
        places: in the order of `Letters.places`.
        letters: the ledger's.
    """
    copied: dict[tuple[str, str, int], set[int]] = {}
    for place in places:
        partition = place.cluster, place.topic, place.partition
        if partition not in copied:
            parked = letters.parked(partition)
            copied[partition] = {fate.letter.offset for fate in parked if any(c.is_whole for c in Copy.all_of([fate]))}
        if place.offset not in copied[partition]:
            yield place


def without_readable_copy(
    client_config: ClientConfig, gone: Iterable[LetterId], letters: Letters
) -> Iterator[LetterId]:
    """Leave out letters whose copies can be read, also those that have only what Kafka has refused.

    Args:
        client_config: the cluster.
        gone: letters that their topic no longer has, with their cluster.
        letters: the ledger's.

    Raises:
        UnavailableError: the cluster or the ledger does not answer.
    """
    rest, known = iter(gone), dict[tuple[str, str, int], dict[int, list[Copy]]]()
    while some := list(islice(rest, _AT_ONCE)):
        copies: dict[LetterId, tuple[Sequence[Copy], int]] = {}
        for letter in some:
            partition = letter.cluster or "", letter.topic, letter.partition
            if partition not in known:
                known[partition] = _copies(letters.parked(partition))
            if its := known[partition].get(letter.offset):
                copies[letter] = its, 0
        found = read_copies(client_config, copies) if copies else {}
        yield from (letter for letter in some if letter not in found)


def _copies(parked: Iterable[Fate]) -> dict[int, list[Copy]]:
    by_letter: defaultdict[int, list[Fate]] = defaultdict(list)
    for fate in parked:
        by_letter[fate.letter.offset].append(fate)
    return {offset: copies for offset, fates in by_letter.items() if (copies := Copy.all_of(fates))}


def find_letter(client_config: ClientConfig, story: Story) -> tuple[Record | None, Copy | None]:
    """Read a letter from where it stands, or else from a copy; with the copy if it is from there.

    Raises:
        UnknownTopicError: there is no such topic, and no copy.
        UnavailableError: the cluster does not answer.
    """
    seen, copies = story.letter.sighting, Copy.all_of(decision.fate for decision in story.decisions)
    try:
        record = read_record(client_config, story.letter.id)
    except UnknownTopicError:
        if not copies:
            raise
        record = None
    if record is not None and still_is(record, seen):
        return record, None
    for copy in copies:
        if found := read_copies(client_config, {story.letter.id: ([copy], seen.timestamp)}, patience=10.0):
            return found[story.letter.id], copy
    return None, None


def read_copies(
    client_config: ClientConfig, copies: Mapping[LetterId, tuple[Sequence[Copy], int]], *, patience: float = 60.0
) -> dict[LetterId, Record]:
    """Read copies of letters, as the records that they were; those that are not there are left out.

    Args:
        client_config: the cluster.
        copies: letter → its copies, of which the first that is there is read, and its own timestamp. All are held in
            memory.
        patience: seconds to wait for records, as behind a transaction that somebody left open.

    Raises:
        UnavailableError: the cluster does not answer.
    """
    found: dict[LetterId, Record] = {}
    for at in range(max((len(several) for several, _ in copies.values()), default=0)):
        some = {
            letter: (several[at], written)
            for letter, (several, written) in copies.items()
            if letter not in found and at < len(several)
        }
        found |= _read(client_config, some, patience)
    return found


def _read(
    client_config: ClientConfig, copies: Mapping[LetterId, tuple[Copy, int]], patience: float
) -> dict[LetterId, Record]:
    try:
        ends = end_offsets(client_config, PARKING_TOPIC)
    except UnknownTopicError:
        return {}
    places: defaultdict[int, dict[int, LetterId]] = defaultdict(dict)
    for letter, (copy, _) in copies.items():
        if copy.partition < len(ends) and copy.offset < ends[copy.partition]:
            places[copy.partition][copy.offset] = letter
    found: dict[LetterId, Record] = {}
    for partition, wanted in places.items():
        for first, end in _stretches(sorted(wanted)):
            span = {partition: first}, {partition: end}
            for messages in scan(client_config, PARKING_TOPIC, span[0], end=span[1], patience=patience):
                for message in messages:
                    its = wanted.get(message.offset() or 0)
                    if its is not None and (record := _restored(its, copies[its][1], message)):
                        found[its] = record
    return found


def _restored(letter: LetterId, written: int, message: Message) -> Record | None:
    """Give the letter that a copy is of, without what parking it has added; None if it is of another one."""
    headers = headers_of(message)
    cluster = letter.cluster or ""
    if dict(headers).get(SOURCE_HEADER) != origin_of(letter):
        return None
    why: dict[str, bytes | None] = {}
    others: Headers = []
    for name, value in headers:
        if name in (TOPIC_HEADER, REASON_HEADER, _ATTEMPT):
            why.setdefault(name, value)  # the pump's own come behind those of the letter
        elif name not in JOB_HEADERS:
            others.append((name, value))
    attempt = int(why.get(_ATTEMPT) or 1)
    if others and others[-1][0] == _ENCODING:
        encoding = others.pop()
        why[_ATTEMPT] = b"%d" % (attempt - 1)
    else:
        encoding = (_ENCODING, RAW.encode())
        why |= {REASON_HEADER: REFUSED.encode(), _TIMESTAMP: b"%d" % message.timestamp()[1]}
    there = (cluster, *letter[1:], written)
    return Record(*there, [*others, *why.items(), encoding], message.key(), message.value())


def _stretches(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = offsets[0]
    for offset in offsets[1:]:
        if offset - last > _SPARSE:
            yield first, last + 1
            first = offset
        last = offset
    yield first, last + 1
