"""Giving letters up, for good: a person says that nothing more is to become of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self

from redrive.config import Config
from redrive.deadletters.correction import Batch, settle_earlier
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection
from redrive.errors import ConfigError
from redrive.ledger import Ledger
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
    """

    operation: str
    letters: int
    findings: list[str]


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

        Repeated after it was killed, it goes on with what is left.

        Args:
            who: the person.
            why: in their words; goes into the journal.

        Raises:
            HeldError: another operation works at the topics in which they stand.
            UnavailableError: the ledger, or Kafka, which may have corrected letters that nobody has entered.
        """
        ledger, batch = self.ledger, Batch(_subjects(self.ledger, self.selection, self.upto))
        topics = sorted({f"{unit.cluster}/{unit.kafka_topic}" for unit in batch.units})
        parameters = {"selection": self.selection.model_dump(mode="json"), "upto": self.upto, "why": why}
        named = ", ".join(batch.clusters)
        with acting(ledger, JOB, cluster=named, resources=topics, who=who, parameters=parameters) as operation:
            operation.note("reason", {"by": who, "reason": why})
            ledger.claim(topics, operation)
            units = [unit for unit in batch.units if unit.cluster in self.config.clusters]
            settle_earlier(self.config, ledger, units, operation, record=True)
            subjects = _subjects(ledger, self.selection, self.upto)
            fates = (
                Fate(LetterId(letter.cluster, letter.topic, letter.partition, letter.offset), "discarded")
                for letter in subjects
            )
            recorded = 0
            while page := list(islice(fates, PAGE)):
                recorded += ledger.letters.record_fates(operation, page)
            found = ledger.letters.fates_by(operation.id).get("discarded", 0)
            findings = [] if found == recorded else [f"the ledger has {found} as discarded, of {recorded}"]
            operation.finish(
                "failed" if findings else "done",
                "failed" if findings else "counted",
                {"letters": recorded, "discarded": found},
                {"findings": findings},
            )
            return Discarded(operation.id, found, findings)


def _subjects(ledger: Ledger, selection: Selection, upto: int) -> Iterator[Subject]:
    return ledger.letters.subjects(selection, upto=upto, also_of="")
