"""The examples in a file of rules: its tests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from redrive.deadletters.letter import JSON, Letter
from redrive.events import Event
from redrive.rules import model
from redrive.rules.draft import same
from redrive.rules.ruleset import Corrected, Outcome, Rejected, RuleSet, Skipped, Unmatched
from redrive.wire import prefix


@dataclass(frozen=True, slots=True)
class Tried:
    """An example that was run.

    Attributes:
        name: the example's.
        outcome: what came out.
        complaint: what should have come out instead; empty if it is what was expected.
    """

    name: str
    outcome: Outcome
    complaint: str

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules that took part."""
        match self.outcome:
            case Corrected():
                return self.outcome.rules
            case Unmatched():
                return ()
            case Skipped() | Rejected():
                return (self.outcome.rule,)


def try_examples(file: model.RuleFile | model.Direction) -> list[Tried]:
    """Run all examples of a file, or of one direction of a migration."""
    rules = RuleSet(file)
    return [_try(example, rules) for example in file.examples]


def unexercised(file: model.RuleFile | model.Direction, tried: list[Tried]) -> list[str]:
    """Return the names of the rules that no example has to do with."""
    exercised = {rule for one in tried for rule in one.rules}
    return [rule.name for rule in file.rules if rule.name not in exercised]


def _try(example: model.Example | model.EventExample, rules: RuleSet) -> Tried:
    if isinstance(example, model.Example):
        about: Letter | Event = _letter(example.letter)
        value = model.constant(example.letter.value)
    else:
        about, value = _event(example.event), model.constant(example.event.value)
    tried = Tried(example.name, rules.apply(about, value), "")
    expect = example.expect
    complaint = _complaint(expect, tried.outcome)
    if not complaint and expect.rules is not None and tuple(expect.rules) != tried.rules:
        complaint = f"expected it to be done by {', '.join(expect.rules) or 'no rule'}"
    return Tried(tried.name, tried.outcome, complaint)


def _complaint(expect: model.Expect, outcome: Outcome) -> str:
    if expect.unmatched:
        return "" if isinstance(outcome, Unmatched) else "expected no rule to match"
    for word, pattern, type_ in (("rejected", expect.rejected, Rejected), ("skipped", expect.skipped, Skipped)):
        if pattern is not None:
            if not isinstance(outcome, type_):
                return f"expected it to be {word}"
            return "" if re.search(pattern, outcome.reason) else f"expected a reason that matches {pattern!r}"
    if not isinstance(outcome, Corrected):
        return "expected a corrected value"
    wanted = model.constant(expect.value)
    return "" if same(outcome.value, wanted) else f"expected {difference(wanted, outcome.value)}"


def difference(wanted: object, found: object, at: str = "") -> str:
    """Say where two values differ first, as ``2 at /a/b``."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            if key not in found:
                return f"{wanted[key]!r} at {at}/{key}, which is missing"
            if key not in wanted:
                return f"nothing at {at}/{key}, which is {found[key]!r}"
            if not same(wanted[key], found[key]):
                return difference(wanted[key], found[key], f"{at}/{key}")
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            if not same(one, other):
                return difference(one, other, f"{at}/{number}")
    return f"{wanted!r} at {at or 'the value itself'}, which is {found!r}"


def _letter(example: model.ExampleLetter) -> Letter:
    return Letter(
        id=None,
        key=None if example.key is None else example.key.encode(),
        value=None,
        headers=[(name, text.encode()) for name, text in example.headers.items()],
        reason=example.reason,
        detail=example.detail,
        field=example.field,
        topic=example.topic,
        partition=None,
        offset=None,
        timestamp=None,
        schema_id=example.schema_id,
        attempt=example.attempt,
        encoding=JSON,
        lossless=True,
        producer=example.producer,
        at="",
    )


def _event(example: model.ExampleEvent) -> Event:
    return Event(
        id=example.id,
        topic=example.topic,
        key=None if example.key is None else example.key.encode(),
        value=None if example.schema_id is None else prefix(example.schema_id),
        headers=[(name, text.encode()) for name, text in example.headers.items()],
        timestamp=example.timestamp,
    )
