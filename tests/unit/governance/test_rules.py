"""What keeps a schema readable and open to change is asked for, with the line of what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from typer.testing import CliRunner, Result

from redrive.avro.schema import parse
from redrive.cli import app
from redrive.governance.rules import RULES, check_text
from tests.properties.avro_values import schemas

SCHEMAS = Path(__file__).parents[3] / "schemas"
SETTINGS = """\
[registry]
url = "http://127.0.0.1:1"
[clusters.blue]
bootstrap = "blue.example:9092"
[domains.sales]
cluster = "blue"
[topics."orders.created"]
domain = "sales"
schema = "schemas/order.avsc"
"""


def field(name: str = "id", type_: Any = "long", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "doc": "D.", **more}


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Order", "namespace": "shop", "doc": "D.", "fields": list(fields), **more}


def found(schema: Any) -> list[tuple[str, str]]:
    return [(violation.rule, violation.path) for violation in check_text(json.dumps(schema))]


ENUM = {"type": "enum", "name": "Size", "symbols": ["S", "L"]}
FIXED = {"type": "fixed", "name": "Key"}
DECIMAL = {"type": "bytes", "logicalType": "decimal"}
LIST = {"type": "array", "items": "int"}
OTHER = record(field(), name="Line", namespace="")


@pytest.mark.parametrize(
    ("schema", "violations"),
    [
        (record(field(), field("note", ["null", "string"], default=None)), []),
        (record(field("at", {"type": "long", "logicalType": "timestamp-millis"})), []),
        (record(field("size", {**ENUM, "default": "S"}), field("lines", {"type": "array", "items": OTHER})), []),
        ({"type": "record", "name": "shop.Order", "doc": "D.", "fields": []}, []),
        (record(field("id", "strung")), [("not-avro", "")]),
        (record(field("id", "int", default="one")), [("not-avro", "")]),
        (record(field(), namespace=None), [("namespace", "")]),
        (record(field(), doc=" "), [("doc", "")]),
        (record(field("a-b")), [("name", "a-b")]),
        (record(field("a"), field("a")), [("name", "a")]),
        (record(field(), namespace="my-shop"), [("name", "")]),
        (record(field("note", ["string", "null"])), [("no-default", "note"), ("null-first", "note")]),
        (record(field("note", ["string", "null"], default="")), [("null-default", "note"), ("null-first", "note")]),
        (record(field("note", ["null", "string"], default="x")), [("null-default", "note")]),
        (record(field("note", ["null", "string"])), [("no-default", "note")]),
        (record(field("size", ENUM)), [("enum-default", "size")]),
        (
            record(field("lines", {"type": "array", "items": record(field("size", ENUM), name="Line")})),
            [("enum-default", "lines[*].size")],
        ),
        (record(field("by", {"type": "map", "values": ["null", ENUM]})), [("enum-default", "by[*]")]),
        (record(field("at", {"type": "long", "logicalType": "timestamp-millies"})), [("logical-type", "at")]),
        (record(field("at", {"type": "int", "logicalType": "timestamp-millis"})), [("logical-type", "at")]),
        (record(field("at", {"type": "string", "logicalType": ["date"]})), [("logical-type", "at")]),
        (record(field("orderId")), [("naming", "orderId")]),
        (record(field("total", {"type": "bytes", "logicalType": "decimal"})), [("logical-type", "total")]),
        (record(field("total", {**DECIMAL, "precision": 0})), [("logical-type", "total")]),
        (record(field("total", {**DECIMAL, "precision": 9, "scale": 2})), []),
        (record(field("at", "long", logicalType="timestamp-millis")), [("logical-type", "at")]),
        (record(field("key", {**FIXED, "size": 3, "logicalType": "uuid"})), [("logical-type", "key")]),
        (record(field("key", {**FIXED, "size": 16, "logicalType": "uuid"})), []),
        (record(field("key", {**FIXED, "size": 3, "logicalType": "duration"})), [("logical-type", "key")]),
        (record(field("key", {**FIXED, "size": -1})), [("not-avro", "key")]),
        (record(field("note", ["null", "string", "string"], default=None)), [("not-avro", "note")]),
        (record(field("note", ["null", "shop.Order", "Order"], default=None)), [("not-avro", "note")]),
        (record(field("note", ["null", LIST, LIST], default=None)), [("not-avro", "note")]),
        (record(field("note", ["null", ["int", "string"]], default=None)), [("not-avro", "note")]),
        (record(field("note", [])), [("not-avro", "note"), ("unusable", "")]),
        (record(field("lines", {"type": "array", "items": ["int", "int"]})), [("not-avro", "lines[*]")]),
        (record(field("size", {**ENUM, "symbols": []})), [("not-avro", "size")]),
        (record(field("size", {**ENUM, "default": "S"}, default="XL")), [("not-avro", "size")]),
        (record(field("line", OTHER, default={})), [("not-avro", "line")]),
        (record(field("total", "double", default=float("nan"))), [("not-avro", "")]),
        (record(field("a"), field("b", aliases=["a"])), [("name", "b")]),
        (record(field("a"), field("b", aliases=["c"])), []),
        (record(field("next", "Order")), [("unusable", "")]),
        (record(field("next", ["null", "Order"], default=None)), []),
        (record(field("lines", {"type": "array", "items": "null"})), [("unusable", "")]),
        (record(field(), name="order"), [("naming", "")]),
        (record({"name": "id", "type": "long"}), [("field-doc", "")]),
        ("string", [("no-record", "")]),
        ({**ENUM, "namespace": "shop", "doc": "D.", "default": "S"}, [("no-record", "")]),
    ],
)
def test_a_violation_names_rule_and_field(schema: Any, violations: list[tuple[str, str]]) -> None:
    assert sorted(found(schema)) == violations


def test_a_violation_has_the_line_of_its_field() -> None:
    text = json.dumps(record(field("a"), field("note", ["string", "null"])), indent=1)
    lines = text.splitlines()
    for violation in check_text(text):
        assert '"note"' in lines[violation.line] or '"type": [' in lines[violation.line - 1]  # type: ignore[index,operator]


def test_a_text_that_is_no_json_has_the_line_of_the_mistake() -> None:
    (violation,) = check_text('{\n"type": "record",\n}')
    assert (violation.rule, violation.line) == ("not-avro", 3)


def test_one_schema_without_sense_hides_no_finding_of_another(folder: Path) -> None:
    (folder / "schemas/a.avsc").write_text(json.dumps(record(field("size", {**ENUM, "symbols": []}))))
    (folder / "schemas/b.avsc").write_text(json.dumps(record(field("size", ENUM))))
    result = check("schemas", "--offline")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "a.avsc:1: error: not-avro: size: Size has no symbols" in result.stdout
    assert "b.avsc:1: error: enum-default: size:" in result.stdout


@settings(max_examples=300, deadline=None)
@given(schemas())
def test_what_producers_and_consumers_can_start_with_and_has_a_value_is_not_called_unusable(schema: Any) -> None:
    text = json.dumps(schema)
    assume(not parse(text).endless)
    assert [one for one in check_text(text) if one.rule in ("not-avro", "unusable")] == []


def test_the_schemas_of_this_repository_have_no_errors() -> None:
    for file in SCHEMAS.glob("*.avsc"):
        assert [one for one in check_text(file.read_text()) if one.severity == "error"] == []


def test_every_rule_says_what_it_asks_for() -> None:
    assert all(severity in ("error", "advice") and asks for severity, asks in RULES.values())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/order.avsc").write_text(json.dumps(record(field())))
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["schemas", "check", *arguments])


def test_offline_says_that_the_registry_was_not_asked(folder: Path) -> None:
    result = check("schemas", "--offline")
    assert result.exit_code == 0
    assert "compatibility with the registry was not checked: --offline" in result.stdout


def test_a_registry_that_does_not_answer_hides_no_finding(folder: Path) -> None:
    result = check("schemas")
    assert result.exit_code == 3
    (folder / "schemas/order.avsc").write_text(json.dumps(record(field(), doc=""), indent=2))
    result = check("schemas")
    assert result.exit_code == 1
    assert "schemas/order.avsc:1: error: doc: Order does not say what it is" in result.stdout
    assert "not checked: registry http://127.0.0.1:1 is unavailable" in result.stdout


def test_findings_are_told_to_programs_with_file_line_and_rule(folder: Path) -> None:
    (folder / "schemas/size.avsc").write_text(json.dumps(record(field("size", ENUM)), indent=2))
    told = json.loads(check("schemas/size.avsc", "--offline", "--json").stdout)
    assert (told["files"], told["errors"], told["advice"]) == (1, 1, 1)
    unused, enum = told["findings"]
    assert (unused["rule"], unused["line"]) == ("unused", None)
    assert {key: enum[key] for key in ("file", "line", "severity", "rule", "path")} == {
        "file": "schemas/size.avsc",
        "line": 9,
        "severity": "error",
        "rule": "enum-default",
        "path": "size",
    }


def test_advice_fails_only_if_it_is_asked_to(folder: Path) -> None:
    (folder / "schemas/order.avsc").write_text(json.dumps(record(field("orderId"))))
    assert check("schemas", "--offline").exit_code == 0
    assert check("schemas", "--offline", "--strict").exit_code == 1


@pytest.mark.parametrize(("path", "reason"), [("nowhere", "no such file"), ("empty", "no .avsc file")])
def test_nothing_to_check_is_a_mistake_and_no_pass(folder: Path, path: str, reason: str) -> None:
    (folder / "empty").mkdir()
    result = check(path, "--offline")
    assert (result.exit_code, type(result.exception).__name__) == (1, "ConfigError")
    assert reason in str(result.exception)
