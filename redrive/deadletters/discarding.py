"""Giving letters up, for good: a person says that nothing more is to become of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Self

from redrive.config import Config
from redrive.deadletters.answering import away
from redrive.deadletters.correction import Batch, settle_earlier
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.errors import ConfigError
from redrive.ledger import Ledger, Operation
from redrive.ledger.acting import acting
from redrive.ledger.letter_queries import Subject
from redrive.ledger.letters import PAGE

JOB = "dlq-discard"


@dataclass(frozen=True, slots=True)
class Discarded:
    """What was done.

    Attributes:
        operation: its id in the ledger.
        letters: how many were given up.
        findings: what is wrong, by what was counted afterwards.
        left: cluster that does not answer while others do → how many of its letters are left as they are.
    """

    operation: str
    letters: int
    findings: list[str]
    left: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Discard:
    """Letters that are to be given up, as they were when they were counted: what triage enters later is not among them.

    Attributes:
        letters: how many there are.
    """

    config: Config
    ledger: Ledger
    selection: Selection
    upto: int
    letters: int

    @classmethod
    def count(cls, config: Config, ledger: Ledger, selection: Selection) -> Self:
        """Count the letters of a selection.

        Raises:
            ConfigError: it takes in letters that have an end which can't be taken back, or the settings ask for
                approval of so many.
            UnavailableError: the ledger does not answer.
        """
        if selection.takes_ended:
            raise ConfigError(
                "fate", "letters that are published, rejected or discarded have come to their end; name other fates"
            )
        upto = ledger.letters.last_entry()
        letters = sum(1 for _ in _subjects(ledger, selection, upto))
        if letters and config.corrections.needs_approval(letters):
            raise ConfigError(
                "corrections.approval",
                f"giving up {letters:,} letters has to be approved, which only the job can ask for: select fewer, or "
                "write a rule with `skip`, and start redrive run dlq-correction --rules FILE --mode run",
            )
        return cls(config, ledger, selection, upto, letters)

    def carry_out(self, who: str, why: str) -> Discarded:
        """Give the letters up; those that have come to another end meanwhile are left out.

        So are those on clusters that do not answer while others do: they may have been corrected, and nobody has
        entered that. Repeated after it was killed, it goes on with what is left.

        Args:
            who: the person.
            why: in their words; goes into the journal.

        Raises:
            HeldError: another operation works at the topics in which they stand.
            UnavailableError: the ledger does not answer, or none of the clusters does.
        """
        ledger, batch = self.ledger, self._batch()
        if len(batch.clusters) > 1 and (silent := away(self.config, batch.clusters)):
            batch = self._batch(silent)
        topics = sorted({f"{unit.cluster}/{unit.kafka_topic}" for unit in batch.units})
        parameters = {"selection": self.selection.model_dump(mode="json"), "upto": self.upto, "why": why}
        parameters |= {"no_answer": dict(batch.no_answer)} if batch.no_answer else {}
        named = ", ".join(batch.clusters)
        with acting(ledger, JOB, cluster=named, resources=topics, who=who, parameters=parameters) as operation:
            operation.note("reason", {"by": who, "reason": why})
            ledger.claim(topics, operation)
            units = [unit for unit in batch.units if unit.cluster in self.config.clusters]
            settle_earlier(self.config, ledger, units, operation, record=True)
            letters = (
                LetterId(letter.cluster, letter.topic, letter.partition, letter.offset)
                for letter in _subjects(ledger, self.selection, self.upto)
                if letter.cluster not in batch.away
            )
            recorded = give_up(ledger, operation, letters)
            found = ledger.letters.fates_by(operation.id).get("discarded", 0)
            findings = [] if found == recorded else [f"the ledger has {found} as discarded, of {recorded}"]
            operation.finish(
                "failed" if findings else "done",
                "failed" if findings else "counted",
                {"letters": recorded, "discarded": found},
                {"findings": findings},
            )
            return Discarded(operation.id, found, findings, dict(batch.no_answer))

    def _batch(self, without: Collection[str] = ()) -> Batch:
        return Batch(_subjects(self.ledger, self.selection, self.upto), away=without)


def give_up(ledger: Ledger, operation: Operation, letters: Iterable[LetterId], reason: str = "") -> int:
    """Enter letters as discarded, some thousands at once; give how many had not been already, by this operation.

    Raises:
        FencedError: ``operation`` was taken over.
        UnavailableError: the ledger does not answer.
    """
    fates, recorded = (Fate(letter, "discarded", reason) for letter in letters), 0
    while page := list(islice(fates, PAGE)):
        recorded += ledger.letters.record_fates(operation, page)
    return recorded


def _subjects(ledger: Ledger, selection: Selection, upto: int) -> Iterator[Subject]:
    return ledger.letters.subjects(selection, upto=upto, also_of="")
