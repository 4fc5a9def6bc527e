"""What is to become of one letter: the rules, the strict check and the limit of attempts, and nothing of Kafka."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol, cast

import msgspec

from redrive.coding import Reader, Writer
from redrive.deadletters.dialects import Record
from redrive.deadletters.dialects.reading import path
from redrive.deadletters.judging import marks
from redrive.deadletters.judging.targets import NO_TOPIC, MovedWriter, Targets
from redrive.deadletters.letter import RAW, Letter, letter_again
from redrive.deadletters.letter_id import kafka_topic
from redrive.deadletters.letter_value import value_of
from redrive.deadletters.opening import open_letter
from redrive.errors import InvalidEventError, LetterFormatError, UnknownSchemaError, WireFormatError
from redrive.events import Event
from redrive.pump import model
from redrive.pump.names import CORRECTION_HEADER, PARKING_TOPIC
from redrive.rules import Corrected, Outcome, Rejected, Skipped
from redrive.wire import schema_id_of

Kind = Literal["publish", "reject", "park", "skip", "leave"]
"""What is to become of a letter, before the order guard is asked:

- ``publish``: as an event of its main topic, or of the one that events of that name go to by now;
- ``reject``: it can't be put right by these rules; it goes back to its dead-letter topic, with one attempt more;
- ``park``: the same, but it has come back often enough: it goes to the parking topic. So does one that could be
  published, and that has come back more often than it may, such as one that no consumer can handle;
- ``skip``: a rule says that it need not go on;
- ``leave``: nothing is done, and it stays open.
"""

NO_RULE, LOSSY, DAMAGED = "no-rule", "lossy", "damaged"
UNREADABLE, UNKNOWN_SCHEMA, UNRESOLVABLE = "unreadable", "unknown-schema", "unresolvable"
INVALID, RULE_FAILED, ATTEMPTS = "invalid-value", "rule-failed", "attempts"
SKIPPED_BY_RULE = "skipped-by-rule"
NOT_MIGRATED, SKIPPED_BY_MIGRATION = "not-migrated", "skipped-by-migration"

REASONS = {
    NO_RULE: "no rule matches it",
    LOSSY: "parts of its value were lost, left out or blackened",
    DAMAGED: "it is a letter of Redrive, and damaged",
    UNREADABLE: "its value is not exactly one Avro value in a frame",
    UNKNOWN_SCHEMA: "the registry does not know the schema of its value",
    UNRESOLVABLE: "its value was written with a schema that the latest one of its main topic can't take; write a rule",
    INVALID: "the corrected value does not fit the schema of its main topic",
    RULE_FAILED: "a rule is for it, and could not be applied",
    ATTEMPTS: "it has become a dead letter as often as is allowed",
    SKIPPED_BY_RULE: "a rule says that it need not go on",
    NOT_MIGRATED: "its main topic's producers were switched to another topic, and what it was made cannot be taken "
    "there by the rules that take their events; write a rule that makes it what those can take",
    SKIPPED_BY_MIGRATION: "its main topic's producers were switched to another topic, and the rules that take their "
    "events there say that it need not go on",
}
"""What the reasons of judgements mean; those of `redrive.deadletters.judging.targets` come on top."""

_CAME_BACK = "it was published again as often as is allowed, and has come back"
_KEY = re.compile(r"has a key \(.*\) that", re.DOTALL)


class Rules(Protocol):
    """What decides about values: a `redrive.rules.RuleSet`, or a person's edit of one letter."""

    digest: str

    def apply(self, letter: Letter, value: Any) -> Outcome:
        """Say what becomes of a letter's value."""
        ...


class Decision(msgspec.Struct, array_like=True, gc=False):
    """What is to become of a letter.

    Attributes:
        kind: see `Kind`.
        reason: why, as a code; empty for ``publish``.
        rules: names of the rules that were applied, or of the one that said so.
        event: what goes to Kafka: for ``publish``, ``reject`` and ``park``.
    """

    kind: Kind
    reason: str = ""
    rules: tuple[str, ...] = ()
    event: Event | None = None


class Judgement(Decision, gc=False):
    """A decision, with what people want to see of it.

    Attributes:
        detail: more of the reason; quotes nothing of the value, nor keys of its maps.
        before: the value before; None if it could not be read.
        after: the value afterwards, for ``publish``.
    """

    detail: str = ""
    before: Any = None
    after: Any = None


Piece = Sequence[Record | int]
"""Some letters in order; of one that is gone, its offset alone."""


class Judging(Protocol):
    """What judges letters piece by piece: a `Judge`, or `redrive.deadletters.judging.elsewhere.JudgeElsewhere`."""

    def judged(self, pieces: Iterable[Piece], origins: str) -> Iterator[tuple[Piece, Iterable[Decision]]]:
        """Yield each piece, in order, with a decision for each letter of it that is not gone.

        Args:
            pieces: the letters. Some may be taken before those before them are asked for.
            origins: how letters are named: ``origins % offset``.

        Raises:
            UnavailableError: see `Judge.judge`; or what judges is gone. What was not yielded can be judged again.
        """
        ...


class Judge:
    """Judges the letters of one cluster, one after the other.

    Deterministic, but for what the registry answers and the time of day in letters that go back.

    Args:
        rules: what decides about values; None: events are published as they are, if whoever has the latest schema of
            their main topic can read them.
        targets: by main topic; a topic that is not there counts as `NO_TOPIC`.
        reader: decodes values as they were written.
        attempts: so many times a letter is tried: one that has become a letter this often, and can't be put right, is
            parked; so is one that has become one more often, whatever could be made of it.
        insisted: a person has chosen the letters, parked ones among them: what can be published is.
    """

    def __init__(
        self, rules: Rules | None, targets: Targets, reader: Reader, *, attempts: int, insisted: bool = False
    ) -> None:
        self._rules, self._targets, self._reader, self._attempts = rules, targets, reader, attempts
        self._most = math.inf if insisted else attempts
        self._resolving: dict[str, Reader] = {}
        self._digest = rules.digest[: marks.DIGITS] if rules else ""

    def judged(self, pieces: Iterable[Piece], origins: str) -> Iterator[tuple[Piece, Iterable[Decision]]]:
        """Judge pieces, see `Judging`; each letter when its decision is asked for."""
        for piece in pieces:
            yield piece, (self.judge(record, origins % record.offset) for record in piece if isinstance(record, Record))

    def judge(self, record: Record, origin: str) -> Judgement:
        """Judge a letter.

        Args:
            record: the letter as it stands in its topic.
            origin: names the letter, for the event that is made of it.

        Raises:
            UnavailableError: the schema of its value is not known yet, and the registry does not answer.
        """
        try:
            letter, target = self._open(record)
            value = self._read(letter)
            corrected, rules = self._apply(letter, value)
            if letter.attempt > self._most:
                raise _FailedError(ATTEMPTS, _CAME_BACK, rules)
            body = self._encode(letter, target, corrected, rules)
            event = Event(
                letter.id or origin,
                letter.topic,
                letter.key,
                body,
                [
                    *letter.headers,
                    ("redrive-attempt", b"%d" % letter.attempt),
                    (CORRECTION_HEADER, marks.applied(self._digest, rules)),
                ],
                # Of 0, librdkafka makes the time of day.
                max(1, record.timestamp if letter.timestamp is None else letter.timestamp),
                letter.partition,
                origin,
            )
            if isinstance(target, MovedWriter):
                event = _move(event, target, rules)
        except _EndedError as ended:
            return ended.judgement
        except _FailedError as failed:
            return self._failed(record, letter, value, origin, failed)
        return Judgement("publish", rules=rules, event=event, before=value, after=corrected)

    def _open(self, record: Record) -> tuple[Letter, Writer]:
        try:
            letter = open_letter(record)
        except LetterFormatError:
            raise _EndedError("leave", DAMAGED) from None
        if not letter.lossless:
            raise _EndedError("leave", LOSSY)
        target = self._targets.get(letter.topic, NO_TOPIC)
        if isinstance(target, str):
            raise _EndedError("leave", target)
        return letter, target

    def _read(self, letter: Letter) -> Any:
        try:
            return value_of(letter, self._reader).value
        except UnknownSchemaError:
            raise _EndedError("leave", UNKNOWN_SCHEMA) from None
        except WireFormatError as error:
            raise _EndedError("leave", UNREADABLE, type(error).__name__) from None

    def _apply(self, letter: Letter, value: Any) -> tuple[Any, tuple[str, ...]]:
        if self._rules is None:
            return value, ()
        outcome = self._rules.apply(letter, value)
        if isinstance(outcome, Corrected):
            return outcome.value, outcome.rules
        if isinstance(outcome, Rejected):
            raise _FailedError(RULE_FAILED, outcome.reason, (outcome.rule,))
        if isinstance(outcome, Skipped):
            raise _EndedError("skip", SKIPPED_BY_RULE, outcome.reason, (outcome.rule,))
        raise _EndedError("leave", NO_RULE)

    def _encode(self, letter: Letter, target: Writer, value: Any, rules: tuple[str, ...]) -> bytes | None:
        if value is None:
            return None
        if self._rules is None and letter.encoding == RAW:
            return self._as_it_is(letter, target)
        try:
            return target.encode(value)
        except InvalidEventError as error:
            where = path(error.field.encode()) or "the value"
            raise _FailedError(INVALID, f"{where} {_KEY.sub('has a key that', error.reason)}", rules) from None

    def _as_it_is(self, letter: Letter, target: Writer) -> bytes:
        """Give the bytes of an event; they may be of any schema that the target's can take."""
        data = cast(bytes, letter.value)
        written = schema_id_of(data)
        if written != target.schema_id:
            reader = self._resolving.get(target.topic)
            if reader is None:
                reader = self._resolving[target.topic] = self._reader.to(target.schema)
            try:
                reader.decode(data)
            except WireFormatError:  # by the writer's own schema it can be read: that was done before
                raise _EndedError("leave", UNRESOLVABLE, f"written with schema id {written}") from None
        return data

    def _failed(self, record: Record, letter: Letter, value: Any, origin: str, why: _FailedError) -> Judgement:
        """Send a letter back, or park it."""
        parked = letter.attempt + 1 > self._attempts
        topic, reason = (PARKING_TOPIC, ATTEMPTS) if parked else (kafka_topic(record.topic), why.reason)
        event = letter_again(letter, topic, record.value, event_id=origin, detail=why.detail)
        event.headers.append((CORRECTION_HEADER, marks.refused(self._digest, reason, why.rules)))
        event.origin = origin
        return Judgement("park" if parked else "reject", reason, why.rules, event, why.detail, value)


def _move(event: Event, target: MovedWriter, rules: tuple[str, ...]) -> Event:
    """Take an event to where its main topic's producers publish now."""
    became = target.move(event)
    if isinstance(became, model.Rejected):
        # Open, and not back to its topic: nothing is wrong with it as an event of that, and a rule may help.
        raise _EndedError("leave", NOT_MIGRATED, became.reason, rules)
    if isinstance(became, model.Skipped):
        raise _EndedError("skip", SKIPPED_BY_MIGRATION, became.reason, rules)
    return became


class _EndedError(Exception):
    """Ends the work at a letter of which nothing goes to Kafka."""

    def __init__(self, kind: Kind, reason: str, detail: str = "", rules: tuple[str, ...] = ()) -> None:
        self.judgement = Judgement(kind, reason, rules, detail=detail)


class _FailedError(Exception):
    """Ends the work at a letter that could not be put right."""

    def __init__(self, reason: str, detail: str, rules: tuple[str, ...]) -> None:
        self.reason, self.detail, self.rules = reason, detail, rules
