"""`Letters`: what the ledger knows of dead letters, how far triage has read, and what became of each letter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import select

from redrive.deadletters.dialects import Sighting
from redrive.deadletters.dialects.reading import text
from redrive.deadletters.fate import WAITING, Fate
from redrive.deadletters.letter_id import LetterId, Place
from redrive.deadletters.selection import Selection
from redrive.errors import UnknownLetterError
from redrive.ledger import (
    letter_conditions,
    letter_fates,
    letter_queries,
    letter_successors,
    letter_twins,
    letter_writes,
)
from redrive.ledger.database import Database
from redrive.ledger.letter_queries import Group, KnownLetter, Story
from redrive.ledger.letter_tables import triage_positions
from redrive.ledger.letter_twins import Events, Twin
from redrive.ledger.letter_writes import Partition, Reach
from redrive.ledger.operation import Operation

PAGE = 5_000
"""Letters of one page of `Letters.places`; a good size for batches to record, too."""


class Letters:
    """The ledger's dead letters; get it as `Ledger.letters`. Safe to use as the ledger is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self, cluster: str) -> dict[Partition, int]:
        """Give for each partition that triage has read: the first offset that it has not."""
        query = select(triage_positions).where(triage_positions.c.cluster == cluster)
        with self._database.reading() as session:
            return {(name, topic, partition): at for name, topic, partition, at in session.execute(query)}

    def newest(self, cluster: str, topic: str) -> dict[int, Sighting]:
        """Give the last letter of each partition of a dead-letter topic."""
        with self._database.reading() as session:
            return letter_queries.newest(session, cluster, topic)

    def last_before(self, letter: LetterId) -> Sighting | None:
        """Give the last letter that stands before a place in the same partition; None if there is none."""
        with self._database.reading() as session:
            return letter_queries.last_before(session, letter)

    def begun_by(self, job: str) -> dict[Partition, int]:
        """Give the partitions that operations of a job have begun to read, and from which offset on."""
        with self._database.reading() as session:
            return letter_queries.begun_by(session, job)

    def record(self, operation: Operation, letters: Iterable[Sighting], reached: Mapping[Partition, Reach]) -> int:
        """Record a batch of letters and how far it reaches, both or nothing; give how many letters are new.

        To be repeated or killed at any time, or run twice at once: a batch is taken only if it begins where the
        ledger's position is. Letters that the ledger has already stay as they are.

        Args:
            operation: who records them.
            letters: of the partitions in ``reached``; some thousands (see `PAGE`), since all are held in memory.
            reached: every partition that was read, also those without letters. ``begin`` is the position that
                `positions` gave, or that the batch before has reached, wherever the first record then was.

        Raises:
            StaleTriageError: another triage has read further; ask for the positions again.
            FencedError: ``operation`` is no longer this process's.
        """
        with self._database.writing() as session:
            operation.own(session)
            return letter_writes.record(session, operation.id, letters, reached)

    def entered(self, operations: Iterable[str]) -> dict[str, int]:
        """Give how many letters these operations have recorded, by cluster; clusters without any are left out."""
        with self._database.reading() as session:
            return letter_queries.entered(session, list(operations))

    def record_fates(self, operation: Operation, fates: Sequence[Fate], *, of: str | None = None) -> int:
        """Record what an operation has made of letters, all or nothing, for ever; give how many fates are new.

        A fate that is the last which its operation has given to the letter is not recorded again, whoever has recorded
        it: so a batch may be repeated. What was recorded last is the letter's fate.

        Args:
            operation: who records them.
            fates: some thousands, each of another letter.
            of: the id of the operation that gave them, if that was another one, which could not record them itself.

        Raises:
            UnknownLetterError: one of the letters was never recorded.
            FencedError: ``operation`` is no longer this process's.
            ValueError: a letter is in the batch twice.
        """
        with self._database.writing() as session:
            operation.own(session)
            return letter_writes.record_fates(session, operation.id, fates, of=of)

    def count(self, selection: Selection) -> int:
        """Give the number of selected letters."""
        with self._database.reading() as session:
            return letter_queries.count(session, selection)

    def waiting(self, selection: Selection) -> dict[str, int]:
        """Give how many letters wait for a person, by their fate; of those that are selected, whatever its fates."""
        with self._database.reading() as session:
            found = letter_queries.by_fate(session, selection.model_copy(update={"fates": list(WAITING)}))
        return {fate: found[fate] for fate in WAITING if fate in found}

    def groups(self, selection: Selection) -> list[Group]:
        """Give the selected letters by reason, producer and main topic; the largest group first."""
        with self._database.reading() as session:
            return letter_queries.groups(session, selection)

    def numbers(self) -> list[tuple[str, str, str, int]]:
        """Give how many letters there are of each cluster, reason and fate, ended ones, too."""
        with self._database.reading() as session:
            return letter_queries.numbers(session)

    def trend(self, selection: Selection, unit: Literal["hour", "day"]) -> list[tuple[datetime, int]]:
        """Give how many of the selected letters have their timestamp in each hour, or day in UTC; none: left out.

        A letter of Kafka Connect has the timestamp of its event.
        """
        with self._database.reading() as session:
            return letter_queries.trend(session, selection, unit)

    def find(self, selection: Selection, *, after: Place | None = None, limit: int = 50) -> list[KnownLetter]:
        """Give the selected letters in the order of `places`, at most so many; go on with the last one's place."""
        with self._database.reading() as session:
            return letter_queries.letters(session, selection, after, limit)

    def places(self, selection: Selection, *, page: int = PAGE) -> Iterator[Place]:
        """Give all selected letters' places: by cluster, main topic, dead-letter topic, partition and offset.

        Reads page by page, so that memory and transactions stay small. A letter whose fate changes meanwhile is
        given or not by what its page finds.
        """
        after: Place | None = None
        while True:
            with self._database.reading() as session:
                found = letter_queries.places(session, selection, after, page)
            yield from found
            if len(found) < page:
                return
            after = found[-1]

    def last_entry(self) -> int:
        """Give the number of the journal's entry that recorded letters last; 0 if there is none."""
        with self._database.reading() as session:
            return letter_queries.last_entry(session)

    def subjects(self, selection: Selection, *, upto: int, also_of: str) -> Iterator[letter_queries.Subject]:
        """Give what a correction has to know of each letter of its batch; in the order of `places`, page by page.

        Args:
            selection: which letters.
            upto: only those that were recorded by this entry of the journal, or before; see `last_entry`.
            also_of: an operation: the letters that it has itself given a fate to belong to the batch, too, if they meet
                all of the selection but ``fates``. So an operation that goes on has the batch that it began with.
        """
        after: Place | None = None
        while True:
            with self._database.reading() as session:
                found = letter_queries.subjects(session, selection, after, PAGE, upto=upto, also_of=also_of)
            yield from (subject for subject, _ in found)
            if len(found) < PAGE:
                return
            after = found[-1][1]

    def events_of(self, letters: Iterable[tuple[Partition, Sequence[int]]]) -> Events:
        """Give what letters say of their events, so that `twins` looks for those alone.

        Args:
            letters: partitions, each with the offsets of some of its letters: at most some ten thousand in all, since
                what they say is held in memory.
        """
        with self._database.reading() as session:
            return letter_twins.events_of(session, letters)

    def twins(self, main_topics: Iterable[tuple[str, str]], events: Events | None = None) -> Iterator[list[Twin]]:
        """Give the letters of each event that has several, whatever became of them.

        Of the same event are letters that name the same place on the same main topic, and the same event id if they
        have any, else the same time; and a producer's own letters, which name no place, of the same id, time and key.
        Letters of the same place and id that both say a time, or a key, and not the same are of several events.

        Args:
            main_topics: cluster and main topic.
            events: those that are asked for; others may be given with them. None: all of these main topics, whose
                letters are all looked at, within the database.
        """
        if events is None:
            for cluster, topic in sorted(main_topics):
                with self._database.reading() as session:
                    yield from letter_twins.twins(session, cluster, topic)
            return
        wanted = set(main_topics)
        with self._database.reading() as session:
            for group in letter_twins.twins_among(session, events):
                if (group[0].letter.cluster, group[0].main_topic) in wanted:
                    yield group

    def twins_by_other_names(
        self, cluster: str, names: Collection[str], events: Events | None = None
    ) -> Iterator[list[Twin]]:
        """Give the letters of each event that has some by several names of a topic, whatever became of them.

        A topic has several names if producers of another one were switched to it, which is copied there: the same
        event has a place in both. Of the same event are letters of the same event id, time and key that had become
        letters as often before: one that has failed again, after it was published again, is another one. Of a
        producer's own letters, that producer's alone are.

        Args:
            cluster: on which they stand.
            names: main topics that are one in this.
            events: see `twins`.
        """
        with self._database.reading() as session:
            yield from letter_twins.twins_by_other_names(session, cluster, names, events)

    def on_two_clusters(self, selection: Selection, *, upto: int) -> int:
        """Count the selected letters whose event has a letter on another cluster that was not given up.

        Of the same event are letters of the same main topic, event id and event's time.

        Args:
            selection: which letters.
            upto: only those that were recorded by this entry of the journal, or before; see `last_entry`.
        """
        with self._database.reading() as session:
            return letter_queries.on_two_clusters(session, selection, upto)

    def fates_by(self, operation_id: str) -> dict[str, int]:
        """Give how many letters an operation has given which fate; of a letter with several, the last one counts."""
        with self._database.reading() as session:
            return letter_fates.fates_by(session, operation_id)

    def written_by(self, operation_id: str) -> set[Partition]:
        """Give the partitions of which an operation has written letters to Kafka, as far as it has entered that."""
        with self._database.reading() as session:
            return letter_fates.written_by(session, operation_id)

    def given_by(self, operation_id: str, partition: Partition) -> dict[int, bool]:
        """Give the letters of a partition that an operation has given a fate to, whoever has recorded that.

        Returns:
            Offset → whether something was written to Kafka of it.
        """
        with self._database.reading() as session:
            return letter_fates.given_by(session, operation_id, partition)

    def parked(self, partition: Partition) -> list[Fate]:
        """Give the fates by which letters of a partition have been parked, oldest first, whatever came after them."""
        with self._database.reading() as session:
            return letter_fates.parked(session, partition)

    def unread_successors(self, positions: Mapping[Partition, int]) -> list[Fate]:
        """Give the last fates of rejected letters that live on as letters which no triage has read.

        Args:
            positions: the partitions in which those others stand, by their last names, as `positions` gives them. All
                that is found is held in memory.
        """
        with self._database.reading() as session:
            return letter_successors.unread_successors(session, positions)

    def known(self, letters: Iterable[LetterId]) -> set[LetterId]:
        """Give those of some letters that the ledger has; each names its cluster."""
        asked = {(letter.cluster or "", *letter[1:]): letter for letter in letters}
        with self._database.reading() as session:
            found = letter_writes.known(session, asked)
        return {letter for place, letter in asked.items() if place in found}

    def story(self, letter: LetterId) -> Story:
        """Give one letter with all of its fates.

        Raises:
            UnknownLetterError: there is none, or one on each of several clusters.
        """
        with self._database.reading() as session:
            found = letter_queries.stories(session, letter_conditions.by_id(letter))
        if len(found) != 1:
            raise UnknownLetterError(str(letter), tuple(story.letter.sighting.cluster for story in found))
        return found[0]

    def history(self, event_id: str) -> list[Story]:
        """Give all letters that an event has become, each with its fates: by main topic, then by attempt."""
        with self._database.reading() as session:
            return letter_queries.stories(session, letter_conditions.by_event(text(event_id.encode(errors="replace"))))
