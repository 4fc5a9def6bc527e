"""Conditions and expressions in CEL (https://cel.dev), compiled once, evaluated for each value that gets so far.

The interpreter is that of the CEL project itself: ``cel-expr-python``, a binding to its C++ implementation, with the
extensions for strings, mathematics and optional values. It checks types when it compiles, bounds the steps of an
evaluation, and matches regular expressions in linear time.

An expression knows ``value``, as the operations before it have left it, and what `redrive.rules.subject` has of the
letter or the event that the value belongs to, such as ``letter.reason`` or ``event.headers`` (a map of bytes).

What CEL has no type for stands as text: a ``Decimal``, a ``UUID``, a date, a time of day, and a date and time without
a zone (ISO 8601). One with a zone is a timestamp. An integer beyond 64 bits is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings
from google.protobuf.timestamp_pb2 import Timestamp

from redrive.avro.misfit import kind, shown
from redrive.rules.cel_names import fields_of_value, with_lists_only
from redrive.rules.refusal import Refusal
from redrive.rules.subject import Subject

Expression = Callable[[Any, Any], Any]
"""Takes the letter or event, and the value as it is by now; returns what comes out, or raises `Refusal`."""

_T = cel.Type


@cache
def _environment(subject: Subject) -> cel.Env:
    # Without functions of our own: each call of one leaks memory in cel-expr-python 0.1.3.
    return cel.NewEnv(
        variables={"value": _T.DYN, **subject.types},
        extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()],
    )


class Mistake(NamedTuple):
    """What is wrong with an expression's text: line and column in it (from 1), and why."""

    line: int
    column: int
    reason: str


def compile_condition(text: str, subject: Subject) -> Expression | list[Mistake]:
    """Compile an expression that must be true or false; return its mistakes instead if it has any."""
    compiled = _compile(text, subject)
    if isinstance(compiled, list):
        return compiled
    type_ = compiled.return_type()
    if type_ not in (_T.BOOL, _T.DYN):
        return [Mistake(1, 1, f"gives {type_.name().lower()}, not true or false")]
    evaluate, checked = _evaluation(text, compiled, subject)
    inputs = _inputs(text, subject)
    known: dict[Any, bool] = {}  # most values are of a few kinds, and asking CEL takes ten times as long

    def condition(about: Any, value: Any) -> bool:
        given = inputs(about, value)
        if given in known:
            return known[given]
        outcome = evaluate(about, value)
        answer = outcome.value()
        if answer is not True and answer is not False:
            checked(outcome)
            raise Refusal(f"gives {kind(answer)}, not true or false")
        _remember(known, given, answer)
        return answer

    return condition


def compile_expression(text: str, subject: Subject) -> Expression | list[Mistake]:
    """Compile an expression whose outcome becomes part of a value; return its mistakes instead if it has any."""
    compiled = _compile(text, subject)
    if isinstance(compiled, list):
        return compiled
    evaluate, checked = _evaluation(text, compiled, subject)
    inputs = _inputs(text, subject)
    known: dict[Any, Any] = {}  # whoever changes a value copies what it has to change of it: outcomes can be shared

    def expression(about: Any, value: Any) -> Any:
        given = inputs(about, value)
        if given in known:
            return known[given]
        try:
            outcome = _plain(checked(evaluate(about, value)).plain_value())
        except TypeError:  # an optional
            raise Refusal("gives what is no value; end an optional with .orValue(…)") from None
        _remember(known, given, outcome)
        return outcome

    return expression


def _remember(known: dict[Any, Any], given: tuple[Any, ...] | None, outcome: Any) -> None:
    if given is not None and all(type(one) is not str or len(one) <= _LONGEST_KNOWN for one in given):
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[given] = outcome


_OF_A_MAP = "asks for map or filter of a map, whose keys have no order; use a list, or a function"


def _compile(text: str, subject: Subject) -> cel.Expression | list[Mistake]:
    try:
        compiled = _environment(subject).compile(text)
    except Exception as error:  # the binding raises RuntimeError, and other kinds for text that is not Unicode
        return _mistakes(str(error))
    try:
        ordered = with_lists_only(text)
        return compiled if ordered == text else _environment(subject).compile(ordered)
    except Exception:
        return [Mistake(1, 1, _OF_A_MAP)]


_NOISE = re.compile(r"\[INVALID_ARGUMENT\]$|\(in container ''\)| expecting \{.*")
_ERROR = re.compile(r"^ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)


def _mistakes(message: str) -> list[Mistake]:
    found = [
        Mistake(int(line), int(column), _NOISE.sub("", reason).strip())
        for line, column, reason in _ERROR.findall(message.replace("INVALID_ARGUMENT: ERROR", "ERROR"))
    ]
    return found or [Mistake(1, 1, "is not CEL")]


def _evaluation(
    text: str, compiled: cel.Expression, subject: Subject
) -> tuple[Callable[[Any, Any], cel.Value], Callable[[cel.Value], cel.Value]]:
    """Return what evaluates an expression, and what raises a `Refusal` if the outcome is an error.

    Only what the expression uses is bound: turning a value into CEL's costs more than evaluating it.
    """
    fields = fields_of_value(text)
    bindings = [(name, subject.takes[name]) for name in _used(text, subject)]
    words = frozenset(re.findall(r"\w+", text))
    evaluate, error_type = compiled.eval, _T.ERROR

    def evaluation(about: Any, value: Any) -> cel.Value:
        if fields is None or type(value) is not dict:
            bound = _bound(value)
        else:
            bound = {name: _bound(value[name]) for name in fields if name in value}
        data = {"value": bound}
        for name, take in bindings:
            data[name] = take(about)
        try:
            return evaluate(data=data)
        except Exception as error:
            raise Refusal(_reason(str(error), words)) from None

    def checked(outcome: cel.Value) -> cel.Value:
        if outcome.type() == error_type:
            raise Refusal(_reason(outcome.value(), words))
        return outcome

    return evaluation, checked


def _used(text: str, subject: Subject) -> list[str]:
    """Name what of the letter or event an expression may look at."""
    words = set(re.findall(r"\w+", text))
    return [name for name in subject.takes if words.issuperset(name.split("."))]


def _inputs(text: str, subject: Subject) -> Callable[[Any, Any], tuple[Any, ...] | None]:
    """Return what gives all that an expression depends on, and its types; None if it is not all there, or not plain."""
    fields = fields_of_value(text)
    takes = [subject.takes[name] for name in _used(text, subject)]

    def inputs(about: Any, value: Any) -> tuple[Any, ...] | None:
        if fields is None or type(value) is not dict:
            return None
        try:
            found = [value[name] for name in fields]
        except KeyError:
            return None
        if takes:
            found += [take(about) for take in takes]
        types = tuple(map(type, found))  # 1 is not true
        return (types, *found) if _PLAIN_TYPES.issuperset(types) else None

    return inputs


_PLAIN_TYPES = frozenset({type(None), bool, int, str, datetime})
_LONGEST_KNOWN = 200
_MOST_KNOWN = 10_000
_AS_IT_IS = frozenset({type(None), bool, float, str, bytes})
_AS_TEXT = (Decimal, UUID)


def _bound(value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Return a value as the interpreter takes it."""
    type_ = type(value)
    if type_ in _AS_IT_IS:
        return value
    if type_ is int:
        if -(2**63) <= value < 2**63:
            return value
        raise Refusal("meets an integer beyond 64 bits, which CEL can't take")
    if isinstance(value, dict):
        return {_bound_key(key): _bound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bound(item) for item in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        moment = Timestamp()
        moment.FromDatetime(value.astimezone(UTC))
        return moment
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, bytearray):
        return bytes(value)
    raise Refusal(f"meets {kind(value)}, which CEL can't take")


def _bound_key(key: Any) -> Any:
    if type(key) in (str, int, bool):
        return key
    raise Refusal(f"meets a map with a key that is {kind(key)}, which CEL can't take")


def _rank(key: Any) -> tuple[str, Any]:
    return "number" if isinstance(key, bool | int) else type(key).__name__, key


def _plain(value: Any) -> Any:
    """Return an outcome as values keep it; maps in the order of their keys, as CEL has none."""
    if isinstance(value, dict):
        return {key: _plain(value[key]) for key in sorted(value, key=_rank)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytearray):
        return bytes(value)
    if type(value) in _AS_IT_IS or isinstance(value, int | datetime):
        return value
    raise Refusal(f"gives {kind(value)}, which can't be part of a value")


_OVERLOAD = re.compile(r"No matching overloads found : (\S+?)(?:\(([\w, ]*)\))?$")
_MISSING_KEY = re.compile(r'Key not found in map : "(\w*)"')
_HARMLESS = {
    "divide by zero": "divides by zero",
    "modulus by zero": "divides by zero",
    "integer overflow": "goes beyond 64 bits",
    "Index error": "asks a list for an item that it has not",
    "cannot convert": "can't convert a value",
    "conversion failed": "can't convert a value",
    "SELECT to non-message": "asks for a field of what has none",
    "Iteration budget exceeded": "takes too many steps",
    "duplicate key": "makes a map with the same key twice",
}


def _reason(message: str, words: frozenset[str]) -> str:
    """Put what the interpreter says into words that quote nothing of the value, which its own may do."""
    if missing := _MISSING_KEY.search(message):
        name = shown(missing[1]) if missing[1] in words else "a key"
        return f"needs {name}, which is missing; ask has(…) first"
    if overload := _OVERLOAD.search(message):
        if overload[1] == "<jump_condition>":
            return "has a condition that is neither true nor false"
        if overload[2] == "map, list":
            return _OF_A_MAP
        of = f" of {overload[2]}" if overload[2] else ""
        return f"is of the wrong types: there is no {overload[1].strip('_')}{of}"
    return next((said for part, said in _HARMLESS.items() if part in message), "can't be evaluated")
