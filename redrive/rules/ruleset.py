"""Rules at work: which of them is for a letter or event, and what becomes of its value."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable
from typing import Any

import msgspec

from redrive.rules import model
from redrive.rules.draft import Draft, clone
from redrive.rules.expressions import Expression, compile_condition
from redrive.rules.functions import Function, Reject, Skip, find_function
from redrive.rules.operations import compile_operation
from redrive.rules.refusal import Refusal
from redrive.rules.subject import EVENT, LETTER, Subject

_VERSION = "redrive rules 1"  # to be raised when the same rules come to mean something else
_CACHED = 10_000


class Corrected(msgspec.Struct, frozen=True):
    """A corrected value.

    Attributes:
        value: the new one; it shares with the old one what did not change.
        rules: names of the rules that were applied, in order.
    """

    value: Any
    rules: tuple[str, ...]


class Skipped(msgspec.Struct, frozen=True):
    """A rule says that the letter or event need not go on.

    Attributes:
        rule: its name.
        reason: why.
    """

    rule: str
    reason: str


class Rejected(msgspec.Struct, frozen=True):
    """A rule is for this letter or event, and can't be applied to it.

    Attributes:
        rule: its name.
        reason: why; quotes nothing of the value.
    """

    rule: str
    reason: str


class Unmatched(msgspec.Struct, frozen=True):
    """No rule is for this letter or event."""


Outcome = Corrected | Skipped | Rejected | Unmatched

_UNMATCHED = Unmatched()


class _SkippedError(Exception):
    """Ends the work on a value with `Skipped`."""


class _Rule(msgspec.Struct, frozen=True):
    name: str
    is_for: Callable[[Any], bool]
    condition: Expression | None
    act: Callable[[Any, Any], Any]
    deletes: bool  # it says in so many words that null takes the place of the value


class RuleSet:
    """The rules of a file, or of one direction of a migration, compiled.

    Attributes:
        file: what they were compiled from.
        digest: SHA-256, in hexadecimal, of all that decides what the rules do, the source of their functions
            included; comments, layout and examples don't change it.
        names: the rules' names, in order.
    """

    def __init__(self, file: model.RuleFile | model.Direction) -> None:
        subject = LETTER if isinstance(file, model.RuleFile) else EVENT
        self.file = file
        functions = {rule.function: find_function(rule.function) for rule in file.rules if rule.function}
        self.digest = _digest(file, functions)
        self.names = tuple(rule.name for rule in file.rules)
        self._first = file.match == "first"
        self._rules = [_compile(rule, file.tables, functions, subject) for rule in file.rules]
        self._kind = subject.kind
        # The rules that are for what is of a kind.
        self._candidates: dict[Hashable, list[_Rule]] = {}

    def apply(self, about: Any, value: Any) -> Outcome:
        """Put a value right.

        Deterministic, changes neither argument, and never raises, whatever the value is.

        Args:
            about: the letter or event that the value is of: what the rules match on.
            value: the value, decoded.
        """
        applied: tuple[str, ...] = ()
        was_there = value is not None
        for rule in self._rules if self._kind is None else self._of_kind(self._kind(about), about):
            try:
                if rule.condition is not None and not _holds(rule.condition, about, value):
                    continue
                value = rule.act(value, about)
            except _SkippedError as skipped:
                return Skipped(rule.name, str(skipped))
            except Refusal as refusal:
                return Rejected(rule.name, refusal.reason)
            except RecursionError:
                return Rejected(rule.name, "the value is nested too deeply")
            except Exception as error:  # whatever happens to one value must not stop the others
                return Rejected(rule.name, f"it raised {type(error).__name__}")
            if value is None and was_there and not rule.deletes:  # mostly a function that has forgotten its `return`
                return Rejected(rule.name, "nothing is left of the value: it would be published as a deletion")
            applied += (rule.name,)
            if self._first:
                break
        return Corrected(value, applied) if applied else _UNMATCHED

    def _of_kind(self, kind: Hashable, about: Any) -> list[_Rule]:
        candidates = self._candidates.get(kind)
        if candidates is None:
            if len(self._candidates) >= _CACHED:
                self._candidates.clear()
            candidates = self._candidates[kind] = [rule for rule in self._rules if rule.is_for(about)]
        return candidates


def digest_of(file: model.RuleFile | model.MigrationFile) -> str:
    """Return the digest of a file's rules; for a migration, of its topic and the rules of both directions."""
    if isinstance(file, model.RuleFile):
        return RuleSet(file).digest
    directions = [body and RuleSet(body).digest for body in (file.up, file.down)]
    return hashlib.sha256(json.dumps([_VERSION, file.topic, *directions]).encode()).hexdigest()


def _holds(condition: Expression, about: Any, value: Any) -> bool:
    try:
        return bool(condition(about, value))
    except Refusal as refusal:
        raise Refusal(f"its condition {refusal.reason}") from None


def _digest(file: model.RuleFile | model.Direction, functions: dict[str, Function]) -> str:
    rules = file.model_dump(mode="python", by_alias=True, exclude={"examples"}, exclude_unset=True)
    for rule in rules["rules"]:
        for name, given in rule["match"].items():
            if name != "when" and given is not None:
                rule["match"][name] = sorted(_several(given))
    whole = [_VERSION, rules, {reference: function.digest for reference, function in functions.items()}]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _compile(
    rule: model.Rule | model.EventRule,
    tables: dict[str, model.Table],
    functions: dict[str, Function],
    subject: Subject,
) -> _Rule:
    condition = compile_condition(rule.match.when, subject) if rule.match.when is not None else None
    assert not isinstance(condition, list)
    if rule.function is not None:
        act = _call(functions[rule.function].call)
    elif rule.skip is not None:
        act = _skip(rule.skip)
    else:
        act = _operate(rule.do or [], tables, subject)
    is_for = _matcher(rule.match) if isinstance(rule.match, model.Match) else _always
    return _Rule(rule.name, is_for, condition, act, any(_deletes(operation) for operation in rule.do or []))


def _deletes(operation: model.Operation) -> bool:
    if not isinstance(operation, model.Add | model.Replace) or operation.path:
        return False
    return operation.expression is None and operation.value is None


def _always(about: Any) -> bool:
    return True


def _matcher(match: model.Match) -> Callable[[Any], bool]:
    reasons, topics, producers = (_given(one) for one in (match.reason, match.topic, match.producer))
    fields = None if match.field is None else re.compile("|".join(map(_field, _several(match.field))))

    def is_for(letter: Any) -> bool:
        return (
            (reasons is None or letter.reason in reasons)
            and (topics is None or letter.topic in topics)
            and (producers is None or letter.producer in producers)
            and (fields is None or fields.fullmatch(letter.field) is not None)
        )

    return is_for


def _given(one_or_more: model.OneOrMore | None) -> frozenset[str] | None:
    return None if one_or_more is None else frozenset(_several(one_or_more))


def _several(one_or_more: model.OneOrMore) -> list[str]:
    return [one_or_more] if isinstance(one_or_more, str) else one_or_more


def _field(path: str) -> str:
    """Return the regular expression of a field's path, in which ``[*]`` is an item's number or a quoted key."""
    return r"\[(?:[0-9]+|'.*'|\".*\")\]".join(re.escape(part) for part in path.split("[*]"))


def _operate(
    operations: list[model.Operation], tables: dict[str, model.Table], subject: Subject
) -> Callable[[Any, Any], Any]:
    changes = [compile_operation(operation, tables, subject) for operation in operations]

    def act(value: Any, about: Any) -> Any:
        draft = Draft(value)
        done = 0
        try:
            for change in changes:
                change(draft, about)
                done += 1
        except Refusal as refusal:
            operation = operations[done]
            raise Refusal(f"operation {done + 1}, {operation.op} {operation.path}: {refusal.reason}") from None
        return draft.root

    return act


def _skip(reason: str) -> Callable[[Any, Any], Any]:
    def act(value: Any, about: Any) -> Any:
        raise _SkippedError(reason)

    return act


def _call(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def act(value: Any, about: Any) -> Any:
        try:
            return function(clone(value), about)
        except Skip as skip:
            raise _SkippedError(str(skip)) from None
        except Reject as reject:
            raise Refusal(str(reject)) from None

    return act
