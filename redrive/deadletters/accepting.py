"""Accepting a dead-letter topic that was made anew: its letters get ids of their own, and triage reads on.

A cluster that was built again, a topic that was deleted and made again, or the end of a partition that was lost with
its only replica: where the ledger has letters, others stand by now, or none. Triage leaves such partitions alone until
a person has said that what was there is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from redrive.config import Config
from redrive.deadletters.correction import Batch, origin_of, settle_earlier, without_readable_copy
from redrive.deadletters.discarding import give_up
from redrive.deadletters.fate import OPEN, WAITING, Fate
from redrive.deadletters.generations import ACCEPT, Generation, generations
from redrive.deadletters.letter_id import LetterId, kafka_topic, next_topic
from redrive.deadletters.reading import read_record, still_is
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import unread
from redrive.errors import StalePlanError
from redrive.ledger import Ledger
from redrive.ledger.acting import acting
from redrive.ledger.letter_writes import Reach
from redrive.ledger.letters import PAGE
from redrive.pump.names import SOURCE_HEADER
from redrive.pump.readback import ClientConfig, end_offsets, start_offsets

MADE_ANEW = "made-anew"
"""The reason of letters that are given up since their topic was made anew."""


@dataclass(frozen=True, slots=True)
class Anew:
    """A partition that was made anew.

    Attributes:
        known_as: the ledger's last name of the topic whose letters it had.
        begin: the first offset at which it is not what the ledger has.
    """

    partition: int
    known_as: str
    begin: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was done.

    Attributes:
        operation: its id in the ledger.
        letters: how many were given up, since they are gone.
        reopened: how many that had been rejected are open again, since the letters that they were to live on as are
            gone, and no triage had read them.
    """

    operation: str
    letters: int
    reopened: int = 0


@dataclass(frozen=True, slots=True)
class Accept:
    """The partitions of a dead-letter topic that look made anew.

    Attributes:
        topic: its name in Kafka.
        anew: the partitions; none: there is nothing to accept.
        lost: letters that are gone with what was there before, and that somebody would still have to see to. Those
            that have ever been parked are not among them while their copies are there.
    """

    config: Config
    ledger: Ledger
    cluster: str
    topic: str
    anew: tuple[Anew, ...]
    lost: int

    @classmethod
    def look(cls, config: Config, ledger: Ledger, cluster: str, topic: str) -> Self:
        """Find out what there is to accept.

        Raises:
            ConfigError: the settings do not have the cluster.
            UnknownTopicError: there is no such topic.
            UnavailableError: the cluster or the ledger does not answer.
        """
        client = config.cluster(cluster).client_config()
        anew = tuple(_anew(client, ledger, cluster, topic))
        bereft = _bereft(client, ledger, cluster, anew)
        lost = sum(1 for _ in _lost(client, ledger, (cluster, topic), anew, bereft))
        return cls(config, ledger, cluster, topic, anew, lost)

    def carry_out(self, who: str, why: str) -> Accepted:
        """Give up what is gone, and have triage begin anew in these partitions.

        Repeated after it was killed, it goes on with what is left.

        Args:
            who: the person.
            why: in their words; goes into the journal.

        Raises:
            StalePlanError: these are no longer the partitions that look made anew.
            HeldError: another operation works at the topic.
            UnavailableError: the cluster or the ledger does not answer.
        """
        ledger, client = self.ledger, self.config.cluster(self.cluster).client_config()
        anew = {str(each.partition): each.begin for each in self.anew}
        parameters = {"topic": self.topic, "made_anew": anew, "why": why}
        name = f"{self.cluster}/{self.topic}"
        with acting(
            ledger, ACCEPT, cluster=self.cluster, resources=[name], who=who, parameters=parameters
        ) as operation:
            operation.note("reason", {"by": who, "reason": why})
            ledger.claim([name], operation)
            if tuple(_anew(client, ledger, self.cluster, self.topic)) != self.anew:
                raise StalePlanError(f"{self.topic} has changed meanwhile; look again")
            # What was published and nobody has entered yet is not gone.
            upto = ledger.letters.last_entry()
            letters = ledger.letters.subjects(_to_see_to(self.cluster, self.topic), upto=upto, also_of="")
            batch = Batch(letters)
            settle_earlier(self.config, ledger, batch.units, operation, record=True)
            # A rejected letter has no other one any more that it lives on as: it is open again, if it still stands.
            reopened = [Fate(letter, "held", MADE_ANEW) for letter in _bereft(client, ledger, self.cluster, self.anew)]
            for at in range(0, len(reopened), PAGE):
                ledger.letters.record_fates(operation, reopened[at : at + PAGE])
            lost = _lost(client, ledger, (self.cluster, self.topic), self.anew)
            given_up = give_up(ledger, operation, lost, MADE_ANEW)
            reopens = ledger.letters.fates_by(operation.id).get("held", 0)
            # Last: from here on the partitions look as they should.
            begins = {
                (self.cluster, next_topic(each.known_as), each.partition): Reach(None, each.begin) for each in self.anew
            }
            ledger.letters.record(operation, [], begins)
            counts = {"letters": given_up, "reopened": reopens, "partitions": len(self.anew)}
            operation.finish("done", "counted", counts)
            return Accepted(operation.id, given_up, reopens)


def _anew(client: ClientConfig, ledger: Ledger, cluster: str, topic: str) -> Iterator[Anew]:
    made_anew = unread(client, cluster, topic, ledger.letters).made_anew
    if not made_anew:
        return
    parts = generations(ledger.letters, cluster, topic)
    lows, ends = start_offsets(client, topic), end_offsets(client, topic)
    for partition in made_anew:
        there = range(*(each[partition] if partition < len(each) else 0 for each in (lows, ends)))
        begin = _first_other(client, ledger, LetterId(cluster, topic, partition, 0), parts[partition], there)
        yield Anew(partition, parts[partition][0].topic, begin)


def _first_other(client: ClientConfig, ledger: Ledger, of: LetterId, parts: Sequence[Generation], there: range) -> int:
    """Give the first offset of a partition at which it is not what the ledger has.

    If only its end was lost, the letters before that are still those of the ledger, of whatever generation: up to some
    letter all are, and none is behind it.

    Args:
        client: the cluster.
        ledger: what it has.
        of: the partition; its offset says nothing.
        parts: which part of it is which generation's.
        there: the offsets that it has.
    """
    part_of = {part.topic: part for part in parts}
    letters = sorted(
        (place.offset, part.topic)
        for place in ledger.letters.places(_selection(of.cluster or "", of.topic))
        if place.partition == of.partition and place.offset in there
        if (part := part_of.get(place.topic)) and part.begin <= place.offset < part.end
    )
    first, last = 0, len(letters)
    while first < last:
        middle = (first + last) // 2
        offset, topic = letters[middle]
        letter = of._replace(topic=topic, offset=offset)
        record = read_record(client, letter)
        if record is not None and still_is(record, ledger.letters.story(letter).letter.sighting):
            first = middle + 1
        else:
            last = middle
    return letters[first - 1][0] + 1 if first else there.start


def _bereft(client: ClientConfig, ledger: Ledger, cluster: str, anew: Sequence[Anew]) -> list[LetterId]:
    """Give the rejected letters whose successors are gone, and were never read.

    One that was rejected after the loss has its successor in what was written since then: that is still to be read.
    """
    positions = ledger.letters.positions(cluster)
    names = [(cluster, each.known_as, each.partition) for each in anew]
    unread = ledger.letters.unread_successors({name: positions[name] for name in names})
    return [fate.letter for fate in unread if not _lives_on(client, fate)]


def _lives_on(client: ClientConfig, fate: Fate) -> bool:
    """Look whether what a rejected letter has become stands where it was written."""
    if fate.topic is None or fate.partition is None or fate.offset is None:
        return False
    successor = LetterId(fate.letter.cluster, fate.topic, fate.partition, fate.offset)
    record = read_record(client, successor)
    return record is not None and dict(record.headers or ()).get(SOURCE_HEADER) == origin_of(fate.letter)


def _lost(
    client: ClientConfig, ledger: Ledger, of: tuple[str, str], anew: Sequence[Anew], further: Iterable[LetterId] = ()
) -> Iterator[LetterId]:
    begins = {each.partition: each.begin for each in anew}
    letters = chain((place.id for place in ledger.letters.places(_to_see_to(*of))), further)
    gone = (letter for letter in letters if letter.offset >= begins.get(letter.partition, letter.offset + 1))
    return without_readable_copy(client, gone, ledger.letters)


def _to_see_to(cluster: str, topic: str) -> Selection:
    return _selection(cluster, topic).model_copy(update={"fates": [*OPEN, *WAITING]})


def _selection(cluster: str, topic: str) -> Selection:
    return Selection(clusters=[cluster], dead_letter_topics=[kafka_topic(topic)], fates=[])
