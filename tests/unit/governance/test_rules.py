"""What keeps a schema readable and open to change is asked for, with the line of what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from redrive.cli import app
from redrive.governance.rules import RULES, check_text

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
