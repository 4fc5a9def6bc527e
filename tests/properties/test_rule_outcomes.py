"""Whatever a letter's value is, rules give an outcome, the same each time, and leave the value as it is."""

from __future__ import annotations

import json
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonpatch
import jsonpointer
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from redrive import tagged_json
from redrive.deadletters.letter import JSON, Letter
from redrive.rules import Corrected, Outcome, Rejected, RuleSet, Unmatched, load_rules
from redrive.rules.cel_names import fields_of_value
from redrive.rules.draft import same
from redrive.rules.expressions import compile_condition, compile_expression
from redrive.rules.refusal import Refusal
from redrive.rules.subject import LETTER as SUBJECT
from tests.properties.avro_values import ANYTHING

given_time = settings(max_examples=300, deadline=None)

NAMES = st.sampled_from(["a", "b", "0", "1", "a/b", "~"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x", "1"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
POINTERS = st.lists(st.one_of(NAMES, st.just("-")), max_size=3).map(
    lambda parts: jsonpointer.JsonPointer.from_parts(parts).path
)
LETTER = Letter(
    id=None, key=None, value=None, headers=[], reason="r", detail="", field="", topic="t", partition=None, offset=None,
    timestamp=None, schema_id=None, attempt=1, encoding=JSON, lossless=True, producer="", at="",
)  # fmt: skip


@st.composite
def patches(draw: st.DrawFn) -> list[dict[str, Any]]:
    operations = []
    for _ in range(draw(st.integers(1, 4))):
        path = draw(POINTERS)
        operation = {"op": draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])), "path": path}
        if operation["op"] in ("add", "replace", "test"):
            operation["value"] = draw(VALUES)
        if operation["op"] in ("move", "copy"):
            source = draw(POINTERS)
            operation["from"] = path if path.startswith(source + "/") else source
        operations.append(operation)
    return operations


def rules_of(operations: list[dict[str, Any]], match: dict[str, Any] | None = None) -> RuleSet:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(
            json.dumps({"match": "first", "rules": [{"name": "r", "match": match or {}, "do": operations}]})
        )
        return load_rules(file)


@given_time
@given(patches(), VALUES)
def test_a_patch_gives_what_jsonpatch_gives(operations: list[dict[str, Any]], value: Any) -> None:
    """Where the two agree that it can be done; the library takes 1 for True in a test, and -1 for an index."""
    outcome = rules_of(operations).apply(LETTER, value)
    if any(operation["path"] == "" and operation["op"] == "remove" for operation in operations):
        return  # the library can't remove the value itself
    try:
        expected = jsonpatch.apply_patch(deepcopy(value), operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, AttributeError, KeyError):
        assert isinstance(outcome, Rejected)
        return
    if isinstance(outcome, Corrected):
        assert same(outcome.value, expected)
    else:
        assert any(operation["op"] == "test" for operation in operations)


BULK = [
    {"op": "default", "path": "/a", "value": [1]},
    {"op": "rename", "path": "/a", "to": "c"},
    {"op": "drop", "path": "/b/0"},
    *(
        {"op": "convert", "path": "/a", "to": to}
        for to in ("integer", "double", "decimal", "string", "timestamp", "uuid")
    ),
    {"op": "map", "path": "/a", "table": {"x": 1}, "otherwise": 2},
    {"op": "split", "path": "/a", "separator": "x"},
    {"op": "add", "path": "/z", "expression": "value.a"},
    {"op": "add", "path": "/z", "expression": "value"},
    {"op": "add", "path": "/z", "expression": "[value.a].map(x, x + 1)"},
]
HOLDERS = st.one_of(ANYTHING, st.dictionaries(st.sampled_from(["a", "b"]), ANYTHING))


@given_time
@given(st.lists(st.sampled_from(BULK), min_size=1, max_size=3), HOLDERS)
def test_any_value_gives_the_same_outcome_twice_and_stays_as_it_is(
    operations: list[dict[str, Any]], value: Any
) -> None:
    before = tagged_json.encode(value)
    outcomes: list[Outcome] = [rules_of(operations).apply(LETTER, value) for _ in range(2)]
    assert tagged_json.encode(value) == before
    told = [(type(outcome), tagged_json.encode(msgspec.structs.asdict(outcome))) for outcome in outcomes]
    assert told[0] == told[1]


OPERANDS = st.sampled_from(
    [
        *("value.a", "value['b']", 'value["a"]', "value.?a.orValue(0)", "value", "1", "'value.c'", r"r'\'"),
        *("has(value.b)", "size(value)", "value.a.b", "[value.a, 1]", "{'value': value.b}", "value.b[0]"),
        *(
            "value.all(k, k != 'a')",
            "value.size()",
            "[1, 2].all(value, value > 0)",
            "value . a // value.c",
            "value.`a`",
        ),
        *("'''value'''", "value.b.a.size()"),
    ]
)
EXPRESSIONS = st.builds("{}\n{} {}".format, OPERANDS, st.sampled_from(["==", "!=", "+", "in", "&&"]), OPERANDS)


@given_time
@given(EXPRESSIONS, VALUES)
def test_an_expression_sees_no_difference_if_it_is_given_only_the_fields_it_looks_at(text: str, value: Any) -> None:
    fields = fields_of_value(text)
    evaluate = compile_expression(text, SUBJECT)
    if fields is None or isinstance(evaluate, list) or not isinstance(value, dict):
        return
    # Where `value` itself is looked at, all of it is given.
    whole = compile_expression(f"value == 0 ? [] : [{text}\n]", SUBJECT)
    assert not isinstance(whole, list)
    try:
        expected = whole(LETTER, value)
    except Refusal as refusal:
        expected = refusal.reason
    try:
        found: Any = [evaluate(LETTER, value)]
    except Refusal as refusal:
        found = refusal.reason
    assert same(found, expected)


LIKE_ONE = st.sampled_from([1, True, 1.0, "1", 0, False, -0.0, None, b"1", [1], 2**64])
LIKE_EACH_OTHER = st.lists(
    st.tuples(st.dictionaries(st.sampled_from("ab"), LIKE_ONE, max_size=2), st.sampled_from([None, 1, 7])), min_size=2
)
CONDITIONS = st.builds(
    "{} {} {}".format,
    st.sampled_from(["value.a", "value.b", "letter.schema_id", "type(value.a)", "has(value.a)", "1.0 / value.a"]),
    st.sampled_from(["==", "!="]),
    st.sampled_from(["1", "true", "1.0", "'1'", "null", "value.b", "int", "double", "double('inf')"]),
)


@given_time
@given(st.sampled_from([compile_condition, compile_expression]), CONDITIONS, LIKE_EACH_OTHER)
def test_cel_answers_as_if_it_were_asked_for_the_first_time(compile_: Any, text: str, asked: list[Any]) -> None:
    remembering = compile_(text, SUBJECT)
    for value, schema_id in asked:
        fresh = compile_(text, SUBJECT)
        if isinstance(fresh, list) or isinstance(remembering, list):
            return
        letter = msgspec.structs.replace(LETTER, schema_id=schema_id)
        answers = []
        for condition in (remembering, fresh):
            try:
                answers.append(condition(letter, value))
            except Refusal as refusal:
                answers.append(refusal.reason)
        assert answers[0] == answers[1]


@given_time
@given(ANYTHING)
def test_a_letter_that_no_rule_is_for_is_unmatched_whatever_its_value(value: Any) -> None:
    assert RULE_FOR_OTHERS.apply(LETTER, value) == Unmatched()


RULE_FOR_OTHERS = rules_of([{"op": "remove", "path": ""}], {"topic": "other"})
