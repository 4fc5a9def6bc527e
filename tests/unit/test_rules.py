"""Correction rules: which letters they are for, what they do, and what is said when they can't."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from deployments.demo.flights import CANCELLED, PRODUCER, TOPIC, flights
from redrive.avro.codec import Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import parse
from redrive.deadletters.letter import JSON, Letter
from redrive.rules import Corrected, Outcome, Rejected, RuleSet, Skipped, Unmatched, load_rules

ROOT = Path(__file__).parents[2]
Load = Callable[[str], RuleSet]


def a_letter(**about: Any) -> Letter:
    given: dict[str, Any] = dict(  # noqa: C408 - reads like the call that it is for
        id="e-1", key=b"k", value=None, headers=[("h", b"v"), ("none", None)], reason="invalid-value", detail="d",
        field="a", topic="orders", partition=None, offset=None, timestamp=None, schema_id=7, attempt=2, encoding=JSON,
        lossless=True, producer="shop", at="",
    )  # fmt: skip
    return Letter(**given | about)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(text: str) -> RuleSet:
        file = tmp_path / "rules.yaml"
        file.write_text(text)
        return load_rules(file)

    return load_text


@pytest.fixture
def do(load: Load) -> Callable[[list[dict[str, Any]], Any], Outcome]:
    """Apply operations to a value; the value must stay as it is."""

    def apply(operations: list[dict[str, Any]], value: Any) -> Outcome:
        file = {"match": "first", "rules": [{"name": "r", "match": {}, "do": operations}]}
        before = deepcopy(value)
        outcome = load(json.dumps(file | {"tables": {"t": {"NO": "Norway", "1": "one", "null": "none"}}})).apply(
            a_letter(), value
        )
        assert value == before
        return outcome

    return apply


Do = Callable[[list[dict[str, Any]], Any], Outcome]


# Sources: the examples of RFC 6902, appendix A, and the rules of its section 4.
@pytest.mark.parametrize(
    ("value", "operation", "expected"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"foo": "bar", "baz": "qux"}),
        ({"foo": ["bar", "baz"]}, {"op": "add", "path": "/foo/1", "value": "qux"}, {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/-", "value": ["abc"]}, {"foo": ["bar", ["abc"]]}),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/1", "value": 1}, {"foo": ["bar", 1]}),
        ({"foo": 1}, {"op": "add", "path": "", "value": None}, None),
        ({"baz": 1, "foo": 2}, {"op": "remove", "path": "/baz"}, {"foo": 2}),
        ({"foo": [1, 2, 3]}, {"op": "remove", "path": "/foo/1"}, {"foo": [1, 3]}),
        ({"baz": 1, "foo": 2}, {"op": "replace", "path": "/baz", "value": "x"}, {"baz": "x", "foo": 2}),
        (
            {"foo": {"a": 1, "waldo": 2}, "qux": {"c": 3}},
            {"op": "move", "from": "/foo/waldo", "path": "/qux/thud"},
            {"foo": {"a": 1}, "qux": {"c": 3, "thud": 2}},
        ),
        ({"foo": [1, 2, 3, 4]}, {"op": "move", "from": "/foo/1", "path": "/foo/3"}, {"foo": [1, 3, 4, 2]}),
        ({"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": 1}, "c": {"b": 1}}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": 10}, {"/": 9, "~1": 10}),
        ({"a/b": 1}, {"op": "replace", "path": "/a~1b", "value": 2}, {"a/b": 2}),
        ({"": 1}, {"op": "replace", "path": "/", "value": 2}, {"": 2}),
        ({"a": 1}, {"op": "default", "path": "/a", "value": 2}, {"a": 1}),
        ({"a": None}, {"op": "default", "path": "/a", "value": 2}, {"a": 2}),
        ({}, {"op": "default", "path": "/a", "value": {"$decimal": "1.10"}}, {"a": Decimal("1.10")}),
        ({"a": 0}, {"op": "default", "path": "/a", "value": 2}, {"a": 0}),
        ({"a": {"b": 1}}, {"op": "rename", "path": "/a/b", "to": "c"}, {"a": {"c": 1}}),
        ({}, {"op": "rename", "path": "/a", "to": "c"}, {}),
        ({"a": 1}, {"op": "drop", "path": "/a"}, {}),
        ({}, {"op": "drop", "path": "/a/b"}, {}),
        ({"a": "x,y"}, {"op": "split", "path": "/a", "separator": ","}, {"a": ["x", "y"]}),
        (
            {"a": "x y"},
            {"op": "split", "path": "/a", "separator": " ", "into": ["/a", "/b"]},
            {"a": "x", "b": "y"},
        ),
        ({"a": None}, {"op": "split", "path": "/a", "separator": ","}, {"a": None}),
        ({"a": "NO"}, {"op": "map", "path": "/a", "table": "t"}, {"a": "Norway"}),
        ({"a": 1}, {"op": "map", "path": "/a", "table": "t"}, {"a": "one"}),
        ({"a": None}, {"op": "map", "path": "/a", "table": "t"}, {"a": "none"}),
        ({}, {"op": "map", "path": "/a", "table": "t"}, {}),
        ({"a": True}, {"op": "map", "path": "/a", "table": "t", "others": "keep"}, {"a": True}),
        ({"a": [1]}, {"op": "map", "path": "/a", "table": "t", "otherwise": None}, {"a": None}),
        ({"a": (1, 2)}, {"op": "replace", "path": "/a/0", "value": 3}, {"a": [3, 2]}),
        ({"a": 2}, {"op": "add", "path": "/b", "expression": "value.a * 21"}, {"a": 2, "b": 42}),
        ({}, {"op": "add", "path": "/b", "expression": "string(letter.key)"}, {"b": "k"}),
    ],
)
def test_an_operation_gives(do: Do, value: Any, operation: dict[str, Any], expected: Any) -> None:
    assert do([operation], value) == Corrected(expected, ("r",))


@pytest.mark.parametrize(
    ("value", "operation", "reason"),
    [
        ({}, {"op": "remove", "path": "/a"}, "nothing at the path"),
        ({}, {"op": "replace", "path": "/a", "value": 1}, "nothing at the path"),
        ({}, {"op": "copy", "from": "/a", "path": "/b"}, "nothing at `from`"),
        ({}, {"op": "add", "path": "/a/b", "value": 1}, "what holds the path is missing"),
        ({"a": 1}, {"op": "add", "path": "/a/b", "value": 1}, "neither an object nor a list"),
        ({"a": [1]}, {"op": "add", "path": "/a/2", "value": 1}, "no such item"),
        ({"a": [1]}, {"op": "add", "path": "/a/01", "value": 1}, "a field of what is a list"),
        ({"a": [1]}, {"op": "remove", "path": "/a/-"}, "a field of what is a list"),
        ({"a": 1}, {"op": "test", "path": "/a", "value": True}, "not what the test asks for"),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1.0}, "not what the test asks for"),
        ({"a": 1, "b": 2}, {"op": "rename", "path": "/a", "to": "b"}, "a field of the new name"),
        ({"a": "SE"}, {"op": "map", "path": "/a", "table": "t"}, "a string that the look-up table has not"),
        (
            {"a": "x"},
            {"op": "split", "path": "/a", "separator": ",", "into": ["/b", "/c"]},
            "splits into 1 parts, not 2",
        ),
        ({"a": 5}, {"op": "split", "path": "/a", "separator": ","}, "an integer, not a text"),
        ([], {"op": "add", "path": "/b", "expression": "value.secret"}, "asks for a field of what has none"),
        ({"s": "secret"}, {"op": "add", "path": "/b", "expression": "value.s + 1"}, "no + of string, int64"),
        ({"s": "secret"}, {"op": "add", "path": "/b", "expression": "value[value.s]"}, "needs a key"),
        ({"s": "secret("}, {"op": "add", "path": "/b", "expression": "'a'.matches(value.s)"}, "can't be evaluated"),
        ({"s": 2**70}, {"op": "add", "path": "/b", "expression": "value.s"}, "an integer beyond 64 bits"),
        ({"s": "\ud800"}, {"op": "add", "path": "/b", "expression": "value.s"}, "can't be evaluated"),
        ({"m": {"b": 1}}, {"op": "add", "path": "/b", "expression": "value.m.map(k, k)"}, "keys have no order"),
        ({}, {"op": "add", "path": "/b", "expression": "duration('1s')"}, "can't be part of a value"),
        ({}, {"op": "add", "path": "/b", "expression": "value.?x"}, "end an optional with .orValue"),
    ],
)
def test_what_can_t_be_done_rejects_the_letter_and_quotes_nothing_of_it(
    do: Do, value: Any, operation: dict[str, Any], reason: str
) -> None:
    outcome = do([operation], value)
    assert isinstance(outcome, Rejected)
    assert reason in outcome.reason
    assert outcome.reason.startswith(f"operation 1, {operation['op']} {operation['path']}: ")
    assert "secret" not in outcome.reason.replace("value.secret", "")


@pytest.mark.parametrize(
    ("value", "to", "expected"),
    [
        ("12", "integer", 12),
        (3.0, "integer", 3),
        (Decimal("3"), "integer", 3),
        ("1.5e3", "double", 1500.0),
        (2, "double", 2.0),
        (Decimal("0.10"), "double", 0.1),
        ("0.30000000000000004", "double", 0.30000000000000004),
        ("1.10", "decimal", Decimal("1.10")),
        (0.1, "decimal", Decimal("0.1")),
        ("TRUE", "boolean", True),
        (0, "boolean", False),
        (12, "string", "12"),
        (True, "string", "true"),
        (b"\xc3\xa9", "string", "é"),
        (date(2026, 1, 2), "string", "2026-01-02"),
        ("é", "bytes", b"\xc3\xa9"),
        ("AP8=", "bytes-of-base64", b"\x00\xff"),
        ("2026-01-01T01:00:00+01:00", "timestamp", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01", "date", date(2026, 1, 1)),
        ("00000000-0000-0000-0000-000000000007", "uuid", UUID(int=7)),
        (None, "integer", None),
    ],
)
def test_a_value_is_converted(do: Do, value: Any, to: str, expected: Any) -> None:
    outcome = do([{"op": "convert", "path": "/a", "to": to}], {"a": value})
    assert isinstance(outcome, Corrected)
    assert outcome.value == {"a": expected}
    assert type(outcome.value["a"]) is type(expected)


@pytest.mark.parametrize(
    ("value", "to"),
    [
        ("1.5", "integer"), (1.5, "integer"), ("", "integer"), (float("inf"), "integer"), ("nan", "double"),
        (2**53 + 1, "double"), (10**400, "double"), (Decimal("1e400"), "double"), ("1e400", "double"),
        (Decimal("0.12345678901234567890123"), "double"), ("0.12345678901234567890123", "double"),
        (Decimal("12345678901234567891"), "double"), (Decimal("NaN"), "double"),
        (True, "double"), ("x", "decimal"), (float("nan"), "decimal"),
        ("yes", "boolean"), (2, "boolean"), (b"\xff", "string"), ([], "string"), ("\ud800", "bytes"), (1, "bytes"),
        ("?", "bytes-of-base64"), ("2026-01-01T00:00:00", "timestamp"), (5, "timestamp"),
        ("0001-01-01T00:00:00+14:00", "timestamp"), ("2026-13-01", "date"), ("x", "uuid"), (7, "uuid"),
    ],
)  # fmt: skip
def test_what_would_be_lost_by_a_conversion_is_refused(do: Do, value: Any, to: str) -> None:
    assert isinstance(do([{"op": "convert", "path": "/a", "to": to}], {"a": value}), Rejected)


def test_nothing_is_changed_if_a_later_operation_can_t_be_done(do: Do) -> None:
    value = {"a": {"b": [1]}}
    outcome = do([{"op": "add", "path": "/a/b/-", "value": 2}, {"op": "remove", "path": "/x"}], value)
    assert outcome == Rejected("r", "operation 2, remove /x: there is nothing at the path")
    assert value == {"a": {"b": [1]}}


def test_a_copy_is_no_second_name_of_the_same_thing(do: Do) -> None:
    operations = [
        {"op": "add", "path": "/a/x", "value": 1},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/b/y", "value": 2},
    ]
    assert do(operations, {"a": {}}) == Corrected({"a": {"x": 1}, "b": {"x": 1, "y": 2}}, ("r",))


def test_a_constant_of_the_rules_is_the_same_for_each_letter(load: Load) -> None:
    rules = load("""
match: first
rules:
  - {name: r, match: {}, do: [{op: default, path: /tags, value: []}, {op: add, path: /tags/-, value: x}]}
""")
    assert [rules.apply(a_letter(), {}) for _ in range(2)] == [Corrected({"tags": ["x"]}, ("r",))] * 2


def test_what_cel_has_no_type_for_stands_as_text_and_times_as_timestamps(do: Do) -> None:
    value = {
        "d": Decimal("1.10"), "u": UUID(int=7), "day": date(2026, 1, 2), "t": datetime(2026, 1, 1, tzinfo=UTC),
        "local": datetime(2026, 1, 1), "b": bytearray(b"x"), "tuple": (1, 2),
    }  # fmt: skip
    expressions = {
        "d": "value.d == '1.10'",
        "u": "value.u.endsWith('7')",
        "day": "value.day == '2026-01-02'",
        "t": "value.t == timestamp('2026-01-01T00:00:00Z') && value.t.getFullYear() == 2026",
        "local": "value.local == '2026-01-01T00:00:00'",
        "b": "value.b == b'x'",
        "tuple": "value.tuple == [1, 2]",
        "whole": "size(value) == 7",
    }
    operations = [
        {"op": "add", "path": "/out", "expression": f"{{{', '.join(f'{n!r}: {e}' for n, e in expressions.items())}}}"}
    ]
    outcome = do(operations, value)
    assert isinstance(outcome, Corrected)
    assert outcome.value["out"] == dict.fromkeys(sorted(expressions), True)
    assert list(outcome.value["out"]) == sorted(expressions), "a map of CEL has no order; ours must be the same always"


@pytest.mark.parametrize(
    ("match", "about", "is_for"),
    [
        ("{}", {}, True),
        ("{reason: invalid-value}", {}, True),
        ("{reason: [refused, too-large]}", {}, False),
        ("{reason: invalid-value, topic: other}", {}, False),
        ("{topic: [orders, other], producer: shop}", {}, True),
        ("{producer: [other]}", {}, False),
        ("{field: a}", {"field": "a.b"}, False),
        ("{field: 'a.b[*].c'}", {"field": "a.b[12].c"}, True),
        ("{field: 'a.b[*].c'}", {"field": "axb[12].c"}, False),
        ("{field: 'a[*]'}", {"field": "a['x']"}, True),
        ("{field: [b, a]}", {}, True),
        ("{when: 'letter.attempt == 2 && letter.schema_id == 7'}", {}, True),
        ('{when: \'letter.headers["h"] == b"v"\'}', {}, True),
        ("{when: has(value.y)}", {}, False),
        ("{when: value.x == 1}", {}, True),
        ("{topic: other, when: value.missing}", {}, False),
    ],
)
def test_a_rule_is_for_the_letters_for_which_all_of_its_match_holds(
    load: Load, match: str, about: dict[str, Any], is_for: bool
) -> None:
    rules = load(f"match: first\nrules: [{{name: r, match: {match}, do: [{{op: drop, path: /x}}]}}]")
    outcome = rules.apply(a_letter(**about), {"x": 1})
    assert outcome == (Corrected({}, ("r",)) if is_for else Unmatched())


CHAIN = """
rules:
  - {name: one, match: {}, do: [{op: default, path: /a, value: 1}]}
  - {name: two, match: {when: value.a == 1}, do: [{op: add, path: /b, value: 2}]}
  - {name: other, match: {topic: other}, do: [{op: add, path: /c, value: 3}]}
"""


def test_the_first_rule_that_matches_or_all_of_them_as_the_file_says(load: Load) -> None:
    assert load("match: first" + CHAIN).apply(a_letter(), {}) == Corrected({"a": 1}, ("one",))
    assert load("match: all" + CHAIN).apply(a_letter(), {}) == Corrected({"a": 1, "b": 2}, ("one", "two"))


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("value.x", "its condition gives an integer, not true or false"),
        ("value.y == 1", "its condition needs 'y', which is missing; ask has(…) first"),
        ("value.x > 'a'", "its condition is of the wrong types: there is no > of int64, string"),
        ("value.x / 0 == 1", "its condition divides by zero"),
        ("value.l.all(a, value.l.all(b, value.l.all(c, a + b + c >= 0)))", "its condition takes too many steps"),
    ],
)
def test_a_condition_that_can_t_be_evaluated_rejects_this_letter(load: Load, when: str, reason: str) -> None:
    rules = load(f'match: first\nrules: [{{name: r, match: {{when: "{when}"}}, skip: s}}]')
    assert rules.apply(a_letter(), {"x": 1, "l": list(range(200))}) == Rejected("r", reason)


def function(load: Load, name: str) -> RuleSet:
    return load(f"match: first\nrules: [{{name: f, match: {{}}, function: 'tests.unit.rule_functions:{name}'}}]")


def test_a_function_gets_a_value_of_its_own(load: Load) -> None:
    value = {"inner": {"list": [1]}}
    assert function(load, "spoil").apply(a_letter(), value) == Corrected({"inner": {"list": [1, "orders"]}}, ("f",))
    assert value == {"inner": {"list": [1]}}


def test_a_function_may_skip_reject_or_fail(load: Load) -> None:
    assert function(load, "skip").apply(a_letter(), {}) == Skipped("f", "not needed")
    assert function(load, "reject").apply(a_letter(), {}) == Rejected("f", "not possible")
    assert function(load, "fail").apply(a_letter(), {}) == Rejected("f", "it raised KeyError")


def test_nothing_in_the_place_of_a_value_rejects_the_letter(load: Load, do: Do) -> None:
    """Such as from a function that forgets to return: it would be published as a deletion of its key."""
    nothing = "nothing is left of the value: it would be published as a deletion"
    assert function(load, "forget").apply(a_letter(), {"note": "x"}) == Rejected("f", nothing)
    assert do([{"op": "remove", "path": ""}], {"a": 1}) == Rejected("r", nothing)
    assert do([{"op": "move", "from": "/a", "path": ""}], {"a": None}) == Rejected("r", nothing)
    assert do([{"op": "remove", "path": ""}], None) == Corrected(None, ("r",))
    assert do([{"op": "replace", "path": "", "value": None}], {"a": 1}) == Corrected(None, ("r",))  # it says so


def test_a_value_that_contains_itself_is_rejected(load: Load) -> None:
    itself: dict[str, Any] = {}
    itself["x"] = itself
    rules = load("match: first\nrules: [{name: r, match: {when: value.x == 1}, skip: s}]")
    assert rules.apply(a_letter(), itself) == Rejected("r", "the value is nested too deeply")


RULES = """
match: first
rules:
  - name: r
    match: {reason: [a, b], when: value.x == 1}
    do: [{op: map, path: /x, table: t}]
  - {name: f, match: {}, function: 'FUNCTIONS:f'}
tables: {t: {k: 1}}
"""


def test_the_digest_names_what_runs(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, body in (("functions_1", "value"), ("functions_2", "helper(value)")):
        code = f"def helper(value): return None\ndef f(value, letter): return {body}\n"
        (tmp_path / f"{name}.py").write_text(code)
    text = RULES.replace("FUNCTIONS", "functions_1")
    digest = load(text).digest
    layout = text.replace("[a, b]", "[b, # a comment\n      a]").replace("k: 1", '"k": 1')
    examples = "examples: [{name: e, letter: {reason: r, topic: t, value: 1}, expect: {unmatched: true}}]"
    assert load(layout + examples).digest == digest
    others = [
        text.replace("match: first", "match: all"),
        text.replace("value.x == 1", "value.x == 2"),
        text.replace("k: 1", "k: 1.0"),
        text.replace("[a, b]", "[a]"),
        text.replace("path: /x", "path: /y"),
        text.replace("functions_1", "functions_2"),
    ]
    assert len({digest, *(load(other).digest for other in others)}) == 7


def test_the_digest_changes_with_what_the_function_uses_in_its_module(load: Load, tmp_path: Path) -> None:
    import importlib
    import sys

    module = tmp_path / "functions_3.py"
    sys.path.insert(0, str(tmp_path))
    try:
        module.write_text("LIMIT = 1\ndef f(value, letter): return LIMIT\n")
        first = load(RULES.replace("FUNCTIONS", "functions_3")).digest
        module.write_text("LIMIT = 1234\ndef f(value, letter): return LIMIT\n")
        importlib.invalidate_caches()
        del sys.modules["functions_3"]
        assert load(RULES.replace("FUNCTIONS", "functions_3")).digest != first
    finally:
        sys.path.remove(str(tmp_path))


def test_every_cancelled_flight_is_corrected_to_what_its_schema_takes() -> None:
    rules = load_rules(ROOT / "rules" / "cancelled_flights.yaml")
    encoder = Encoder(parse((ROOT / "schemas" / "flight_departed.avsc").read_text()))
    corrected = 0
    for _, _, event in flights():
        if event["dep_time"] is not None:
            continue
        with pytest.raises(Misfit) as misfit:
            encoder.encode(event)
        letter = a_letter(topic=TOPIC, producer=PRODUCER, field=misfit.value.field)
        outcome = rules.apply(letter, event)
        assert isinstance(outcome, Corrected), outcome
        encoder.encode(outcome.value)
        corrected += 1
    assert corrected == CANCELLED
