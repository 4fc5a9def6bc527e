"""One letter that a person puts right: the path of a batch, with the person's value in the place of rules.

::

    take ─► value ─► a person ─► check ─► plan ─► a person ─► carry_out

Nothing is held while the person thinks. So carrying out plans once more, and does only what was shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from redrive import tagged_json
from redrive.aliases.alias import read_aliases
from redrive.coding import Writer
from redrive.config import Config
from redrive.deadletters.correction import diverted, doubles, order_guard, source
from redrive.deadletters.correction.batch import Batch, topics_in
from redrive.deadletters.correction.context import Context, find_context, look_at_lanes, topics_of, twins_of
from redrive.deadletters.correction.copies import Copy, find_letter, note_copies
from redrive.deadletters.correction.correct import UnitResult, correct
from redrive.deadletters.correction.doubles import mark_doubles, to_settle
from redrive.deadletters.correction.earlier import settle_earlier
from redrive.deadletters.correction.order_guard import Policy
from redrive.deadletters.correction.plan import JOB, Plan, Terms, make_plan
from redrive.deadletters.correction.settling import settle
from redrive.deadletters.dialects import Record
from redrive.deadletters.fate import OPEN, WAITING, Fate
from redrive.deadletters.judging import judge, targets
from redrive.deadletters.judging.finding import find_targets
from redrive.deadletters.judging.judge import Judge
from redrive.deadletters.judging.targets import MovedWriter, goes_to
from redrive.deadletters.letter import Letter
from redrive.deadletters.letter_id import LetterId, kafka_topic
from redrive.deadletters.opening import open_letter
from redrive.deadletters.selection import Selection
from redrive.errors import (
    ConfigError,
    InvalidEventError,
    LetterFormatError,
    StalePlanError,
    UnavailableError,
    UncorrectableLetterError,
)
from redrive.events import Event
from redrive.ledger import Ledger, Operation
from redrive.ledger.acting import acting
from redrive.ledger.letter_queries import KnownLetter, Subject
from redrive.ledger.letter_twins import Twin
from redrive.pump.model import Rejected
from redrive.rules import Corrected, Outcome, Unmatched
from redrive.schemas import SchemaRegistry

BY_HAND = "by hand"
"""Stands in fates where the names of rules stand otherwise."""

_REASONS = judge.REASONS | targets.REASONS | order_guard.REASONS | doubles.REASONS | diverted.REASONS | source.REASONS


_TAKEN = (*OPEN, *WAITING)


class Edit:
    """A person's value for a letter.

    Attributes:
        digest: SHA-256, in hexadecimal, of the value.
    """

    def __init__(self, value: Any) -> None:
        self._outcome = Corrected(value, (BY_HAND,))
        self.digest = hashlib.sha256(b"by hand 1 " + _written(value)[0]).hexdigest()

    def apply(self, letter: Letter, value: Any) -> Outcome:
        """Give the value that it is to have."""
        return self._outcome


class _Look:
    """In the place of rules: keeps what they would be asked."""

    digest = ""
    asked: tuple[Letter, Any] | None = None

    def apply(self, letter: Letter, value: Any) -> Outcome:
        self.asked = letter, value
        return Unmatched()


@dataclass(frozen=True, slots=True)
class Done:
    """What was done.

    Attributes:
        operation: its id in the ledger.
        fate: what became of the letter.
        findings: what is wrong, by what was read back; empty if it is proved.
    """

    operation: str
    fate: Fate
    findings: list[str]


@dataclass(frozen=True, slots=True)
class LetterInHand:
    """A letter that can be corrected: an open one, or one that waits for a person.

    Attributes:
        known: the letter, as the ledger has it.
        letter: the letter, as it is in Kafka.
        value: its value, decoded. None is a tombstone.
        target: encodes values for its main topic.
        copy: where it was read from, if its topic no longer has it.
    """

    config: Config
    ledger: Ledger
    registry: SchemaRegistry
    known: KnownLetter
    letter: Letter
    value: Any
    target: Writer
    copy: Copy | None = None

    @classmethod
    def take(cls, config: Config, ledger: Ledger, registry: SchemaRegistry, letter: LetterId) -> Self:
        """Find a letter, and decode it.

        Raises:
            UncorrectableLetterError: it has come to its end, is no longer there, or can't be read or published.
            UnknownLetterError: the ledger does not have it.
            ConfigError: the settings ask for approval of every letter.
            UnknownTopicError: its topic is gone.
            UnavailableError: Kafka, the registry or the ledger does not answer.
        """
        if config.corrections.needs_approval(1):
            reason = "somebody has to approve each correction, which only the job can ask for; write a rule, and start "
            raise ConfigError("corrections.approval", f"{reason}redrive run dlq-correction --rules FILE --id {letter}")
        story = ledger.letters.story(letter)
        known = story.letter
        cluster, name = known.sighting.cluster, str(known.id)
        if known.fate not in _TAKEN:
            raise UncorrectableLetterError(name, f"it is {known.fate} already; see redrive dlq show {name}")
        record, copy = find_letter(config.cluster(cluster).client_config(), story)
        if record is None:
            raise UncorrectableLetterError(name, "it is no longer in Kafka; redrive dlq discard gives it up")
        aliases = read_aliases(config.cluster(cluster).client_config())
        topics = _topics_of(record, copy, known)
        where = find_targets(config, registry, cluster, topics, aliases)
        look = _Look()
        judgement = Judge(look, where, registry.reader(), attempts=config.corrections.attempts).judge(record, name)
        if look.asked is None:
            missing = ", ".join(
                f"[topics.{topic!r}]" for topic in sorted(topics) if topic and topic not in config.topics
            )
            which = f"; {missing} is missing" if judgement.reason == targets.NO_TOPIC and missing else ""
            raise UncorrectableLetterError(name, _REASONS[judgement.reason] + which)
        read, value = look.asked
        if not _written(value)[1]:
            raise UncorrectableLetterError(name, "its value is nested too deeply to be written down")
        target = where[read.topic]
        assert isinstance(target, Writer)
        in_hand = cls(config, ledger, registry, known, read, value, target, copy)
        (unit,) = in_hand._batch(in_hand._terms("")).units
        for reason in unit.doubles.values():  # before anybody takes pains over it
            raise UncorrectableLetterError(name, _REASONS[reason])
        if look_at_lanes(config, cluster, [in_hand.goes_to], aliases).has(in_hand.goes_to, read.key):
            raise UncorrectableLetterError(name, _REASONS[diverted.DIVERTED])
        return in_hand

    @property
    def goes_to(self) -> str:
        """The topic that it is published to: its main topic, or the one that events of that go to by now."""
        return goes_to(self.target)

    def check(self, value: Any) -> None:
        """Check a value strictly, as publishing it will.

        Raises:
            InvalidEventError: it does not fit the main topic's schema, or can't be taken to the topic that its events
                go to; says which field and why.
        """
        if value is None and self.value is None:  # a tombstone may stay one
            return
        body, letter = self.target.encode(value), self.letter
        if isinstance(self.target, MovedWriter):
            became = self.target.move(Event(letter.id or "", letter.topic, letter.key, body, letter.headers, 1))
            if isinstance(became, Rejected):
                raise InvalidEventError(letter.topic, "", f"can't go to {self.goes_to}: {became.reason}")

    def plan(self, edit: Edit) -> Plan:
        """Say what would become of the letter. Nothing is written.

        Raises:
            UncorrectableLetterError: it would not be published, or is no longer open.
            UnavailableError: Kafka, the registry or the ledger does not answer.
        """
        terms = self._terms(edit.digest)
        _, _, plan = self._plan(edit, terms)
        if not plan.counts["publish"]:
            kind, reason = next(iter(plan.reasons), ("leave", judge.NO_RULE))
            raise UncorrectableLetterError(str(self.known.id), _REASONS.get(reason, f"{kind}: {reason}"))
        return plan

    def carry_out(self, edit: Edit, shown: Plan, policy: Policy, who: str) -> Done:
        """Correct the letter, exactly once, read that back, and enter it.

        Args:
            edit: what it is to be.
            shown: the plan of that, which the person has seen.
            policy: what becomes of it if a newer event of its key has passed, also since then.
            who: the person.

        Raises:
            StalePlanError: what was shown would no longer happen.
            HeldError: another operation works at its topics.
            FencedError: another one has taken over.
            UnavailableError: Kafka, the registry or the ledger does not answer.
        """
        shown = replace(shown, terms=replace(shown.terms, policy=policy))
        sighting = self.known.sighting
        with acting(
            self.ledger,
            JOB,
            cluster=sighting.cluster,
            resources=[f"{sighting.cluster}/{kafka_topic(sighting.topic)}"],
            who=who,
            parameters={"by_hand": True, "order": policy, "selection": shown.terms.selection},
        ) as operation:
            batch = self._batch(shown.terms)
            units = to_settle(batch, self._twins(self._letters(shown.terms)))
            topics = {*topics_of(self.config, batch), *topics_in(units)}
            self.ledger.claim(sorted("/".join(topic) for topic in topics), operation)
            earlier = settle_earlier(self.config, self.ledger, units, operation, record=True)
            batch, contexts, plan = self._plan(edit, shown.terms, operation.id)
            if plan.canonical() != shown.canonical():
                raise StalePlanError(
                    f"letter {self.known.id} has another fate by now, or its main topic another schema"
                )
            operation.plan(plan.canonical())
            (unit,) = batch.units
            context = contexts[unit.cluster]
            result = correct(
                self.config,
                unit,
                context.judge,
                context.guard,
                policy,
                operation=operation.id,
                targets=context.targets,
                seen=earlier.saved.get(unit.name),
                record_fates=lambda fates: self.ledger.letters.record_fates(operation, fates),
            )
            return self._enter(operation, context, result)

    def _enter(self, operation: Operation, context: Context, result: UnitResult) -> Done:
        unit, evidence = result.unit, result.outcome.evidence
        counts = {"letters": result.outcome.read}
        try:
            proof = settle(
                context.client,
                [unit],
                {unit.name: evidence},
                operation=operation.id,
                record_fates=lambda fates: self.ledger.letters.record_fates(operation, fates),
            )
        except UnavailableError as error:
            operation.finish("failed", counts=counts, evidence={"unverified": str(error)})
            later = "the letter is corrected; the next correction of its topic proves that, and enters it"
            raise UnavailableError(error.system, f"{error.reason}; {later}") from error
        fates = self.ledger.letters.fates_by(operation.id)
        findings = proof.findings or (
            [] if sum(fates.values()) == 1 else ["the ledger has no fate of it by this operation"]
        )
        operation.finish(
            "failed" if findings else "done",
            "failed" if findings else proof.verdict,
            counts | fates,
            {"findings": findings},
        )
        return Done(operation.id, self.ledger.letters.story(self.known.id).decisions[-1].fate, findings)

    @property
    def _selection(self) -> Selection:
        return Selection(ids=[str(self.known.id)], fates=list(_TAKEN))

    def _terms(self, digest: str) -> Terms:
        selection = self._selection.model_dump(mode="json")
        upto = self.ledger.letters.last_entry()
        return Terms(digest, "hold", self.config.corrections.attempts, selection, upto)

    def _batch(self, terms: Terms, operation: str = "") -> Batch:
        letters = self._letters(terms, operation)
        batch = Batch(letters)
        if not batch.letters:
            raise UncorrectableLetterError(str(self.known.id), "it is no longer open; see redrive dlq show")
        twins = self._twins(letters)
        if self.copy is not None and not self.copy.is_whole:  # it goes where it was refused, as what it had become
            batch = Batch(each._replace(main_topic=self.letter.topic) for each in letters)
        mark_doubles(batch, twins)
        note_copies(batch, self.ledger.letters, by_hand=True)
        return batch

    def _letters(self, terms: Terms, operation: str = "") -> list[Subject]:
        return list(self.ledger.letters.subjects(self._selection, upto=terms.upto, also_of=operation))

    def _twins(self, letters: list[Subject]) -> Iterator[list[Twin]]:
        return twins_of(self.config, self.registry, self.ledger.letters, Batch(letters))

    def _plan(self, edit: Edit, terms: Terms, operation: str = "") -> tuple[Batch, Mapping[str, Context], Plan]:
        batch = self._batch(terms, operation)
        contexts = {
            cluster: find_context(
                self.config,
                self.registry,
                batch,
                cluster,
                edit,
                attempts=terms.attempts,
                operation=operation,
                insisted=True,
            )
            for cluster in batch.clusters
        }
        plan = make_plan(terms, batch, contexts, samples=1)
        if plan.diverted:
            raise UncorrectableLetterError(str(self.known.id), _REASONS[diverted.DIVERTED])
        return batch, contexts, plan


def _topics_of(record: Record, copy: Copy | None, known: KnownLetter) -> set[str]:
    """Give the topics that a letter may be for.

    What Kafka has refused names the topic that refused it: another one, if producers of the letter's own were switched.
    """
    topics = {known.sighting.main_topic}
    if copy is not None and not copy.is_whole:
        with suppress(LetterFormatError):  # judging it says so
            topics.add(open_letter(record).topic)
    return topics


def _written(value: Any) -> tuple[bytes, bool]:
    return tagged_json.encode(value, limit=1 << 31)
