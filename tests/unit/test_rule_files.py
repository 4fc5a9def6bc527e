"""Files of rules: every mistake is named with its line and column, and their examples are run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from redrive.cli import app
from redrive.errors import RulesError
from redrive.rules import (
    MigrationFile,
    RuleFile,
    digest_of,
    json_schema,
    load_rules,
    parse_migration,
    read_either,
    read_migration,
    try_examples,
    unexercised,
    yaml_positions,
)

RULES = Path(__file__).parents[2] / "rules"
SHIPPED = sorted(RULES.glob("*.yaml"))

FULL_OF_MISTAKES = """\
match: frist
rules:
  - name: a
    match: {reason: x, when: value.a == }
    do:
      - {op: default, path: dep_time, value: 1}
      - {op: defalt, path: /x, value: 1}
      - {op: add, path: /x}
      - {op: map, path: /x, table: nope}
      - {op: replace, path: /y, expression: "'a' + 1"}
      - op: add
        path: /z
        expression: |
          1 +
            nope
      - {op: convert, path: /x, to: integer, extra: 1}
      - {op: add, path: /x, value: {$bytes: 5}}
  - name: a
    match: {topc: x}
    function: nosuchmodule:f
    skip: s
  - match: {}
    function: json:dumpz
  - 7
  - {name: b, match: {}, function: "tests.unit.rule_functions:one_argument"}
  - {name: c, match: {}, do: null}
examples:
  - name: x
    letter: {reason: a, topic: t}
    expect: {rejected: "(", rules: [zz]}
"""


def mistakes(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RulesError) as caught:
        load_rules(file)
    return [f"{m.line}:{m.column} {m.at}: {m.reason}" for m in caught.value.mistakes]


def test_every_mistake_is_named_at_its_place(tmp_path: Path) -> None:
    found = mistakes(tmp_path, FULL_OF_MISTAKES)
    expected = [
        "1:8 match: must be 'first' or 'all'",
        "4:40 rules[0].match.when: Syntax error",
        '6:29 rules[0].do[0].path: is not a JSON Pointer; write "/dep_time"',
        "7:14 rules[0].do[1].op: must be one of add, remove,",
        "8:9 rules[0].do[2]: needs exactly one of value, expression; it has none",
        "9:36 rules[0].do[3].table: is no table here",
        "10:50 rules[0].do[4].expression: found no matching overload",
        "15:13 rules[0].do[5].expression: undeclared reference to 'nope'",
        "16:46 rules[0].do[6].extra: is unknown here",
        "17:36 rules[0].do[7].value: is not written as dead letters keep values",
        "18:5 rules[1]: needs exactly one of do, function, skip; it has function and skip",
        "18:11 rules[1].name: is the name of rule 1, too",
        "19:13 rules[1].match.topc: is unknown here",
        "20:15 rules[1].function: nosuchmodule can't be imported",
        "22:5 rules[2].name: is missing",
        "23:15 rules[2].function: json has no function dumpz",
        "24:5 rules[3]: must be a mapping",
        "25:36 rules[4].function: tests.unit.rule_functions:one_argument can't be called",
        "26:5 rules[5]: needs exactly one of do, function, skip; it has none",
        "29:13 examples[0].letter.value: is missing",
        "30:24 examples[0].expect.rejected: is not a regular expression",
        "30:37 examples[0].expect.rules[0]: is no rule of this file",
    ]
    assert [line[: len(wanted)] for line, wanted in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1:1 : must be a mapping"),
        ("[1]", "1:1 : must be a mapping"),
        ("a: [1", "is not YAML"),
        ("a: 1\na: 2", "2:1 : 'a' stands here a second time"),
        ("a: &x 1\nb: *x", "is an alias"),
        ("a: !!python/object:os.system 1", "1:4 : has a tag"),
        ("a: &x [*x]", "is an alias"),
        ("[" * 300, "1:"),
        ("---\na: 1\n---\nb: 2", "is not YAML"),
        ("a: \x00", "is not YAML"),
        ("rules: []\nmatch: first", "1:8 rules: List must have at least 1 item"),
    ],
)
def test_a_text_that_is_no_file_of_rules_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert any(reason in found for found in mistakes(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"none\.yaml: can't be read"):
        load_rules(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("yes", "yes"), ("1:30", "1:30"), ("010", 10), ("0o10", 8), ("0x1F", 31), ("-1", -1), ("1.", 1.0),
        ("1e3", 1000.0), (".5", 0.5), ("~", None), ("", None), ("null", None), ("'null'", "null"), ("true", True),
        ("2026-01-01", "2026-01-01"), ("=", "="), ("<<", "<<"), ("-.inf", float("-inf")), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    read = yaml_positions.read(f"k: {text}").value["k"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_rules_that_come_with_redrive_pass_their_examples_and_leave_no_rule_out(file: Path) -> None:
    rules = read_either(file)
    for body in [rules] if isinstance(rules, RuleFile) else [rules.up, rules.down]:
        assert body is not None
        tried = try_examples(body)
        assert [(one.name, one.complaint) for one in tried if one.complaint] == []
        assert unexercised(body, tried) == []
    jsonschema.validate(yaml.safe_load(file.read_text()), json_schema(type(rules)))


@pytest.mark.parametrize(
    ("file", "options", "model"),
    [("schema.json", [], RuleFile), ("migration.schema.json", ["--migration"], MigrationFile)],
)
def test_the_published_schema_is_that_of_the_model(file: str, options: list[str], model: Any) -> None:
    """`redrive rules schema [--migration] > FILE` writes it."""
    schema = json.loads((RULES / file).read_text())
    assert schema == json_schema(model)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(CliRunner().invoke(app, ["rules", "schema", *options]).stdout) == schema


def test_the_schema_refuses_what_the_model_refuses() -> None:
    wrong = yaml.safe_load(FULL_OF_MISTAKES)
    paths = {
        tuple(error.absolute_path)[:3] for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(wrong)
    }
    assert {("match",), ("rules", 1), ("rules", 2), ("rules", 3)} <= paths


EXAMPLES = """
match: first
rules:
  - {name: used, match: {topic: t}, do: [{op: convert, path: /a, to: integer}]}
  - {name: unused, match: {topic: u}, skip: nothing}
examples:
  - {name: good, letter: {reason: r, topic: t, value: {a: "1"}}, expect: {value: {a: 1}}}
  - {name: other type, letter: {reason: r, topic: t, value: {a: "1"}}, expect: {value: {a: 1.0}}}
  - {name: other outcome, letter: {reason: r, topic: t, value: {a: "x"}}, expect: {unmatched: true}}
  - {name: other reason, letter: {reason: r, topic: t, value: {a: "x"}}, expect: {rejected: nope}}
  - {name: other rule, letter: {reason: r, topic: t, value: {a: 1}}, expect: {value: {a: 1}, rules: [unused]}}
"""


def test_examples_that_fail_are_told_and_the_end_is_1(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(EXAMPLES)
    result = CliRunner().invoke(app, ["rules", "test", str(file), "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [example["complaint"] for example in told["examples"]] == [
        "",
        "expected 1.0 at /a, which is 1",
        "expected no rule to match",
        "expected a reason that matches 'nope'",
        "expected it to be done by unused",
    ]
    assert told["unexercised"] == ["unused"]
    assert told["digest"] == load_rules(file).digest
    assert told["examples"][0]["outcome"] == {"kind": "corrected", "value": {"a": 1}, "rules": ["used"]}
    table = CliRunner().invoke(app, ["rules", "test", str(file)])
    assert table.exit_code == 1
    assert "expected 1.0 at /a, which is 1" in table.stdout
    assert "no example exercises the rule 'unused'" in table.stderr


def test_examples_that_pass_end_with_0() -> None:
    assert CliRunner().invoke(app, ["rules", "test", str(RULES / "cancelled_flights.yaml")]).exit_code == 0


def test_a_file_with_mistakes_ends_with_2_and_tells_them_all(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(FULL_OF_MISTAKES)
    result = CliRunner().invoke(app, ["rules", "test", str(file)])
    assert (result.exit_code, len(result.stdout.splitlines())) == (2, 22)
    assert result.stdout.startswith(f"{file}:1:8: match: must be")
    as_json = CliRunner().invoke(app, ["rules", "test", str(file), "--json"])
    assert (as_json.exit_code, len(json.loads(as_json.stdout)["mistakes"])) == (2, 22)


MIGRATION = """\
topic: orders
up:
  match: first
  rules:
    - name: a
      match: {reason: invalid-value, when: letter.attempt == 1}
      do:
        - {op: add, path: /x, expression: event.topic + 1}
        - {op: map, path: /x, table: t}
down:
  match: first
  tables: {t: {a: 1}}
  rules:
    - {name: b, match: {when: event.timestamp > timestamp('2026-01-01T00:00:00Z')}, do: [{op: map, path: /x, table: t}]}
  examples:
    - {name: e, letter: {value: 1}, expect: {value: 1, rules: [a]}}
sideways: 1
"""


def test_a_migration_s_mistakes_are_named_at_their_places_in_either_direction(tmp_path: Path) -> None:
    """What is about letters only is one."""
    with pytest.raises(RulesError) as caught:
        parse_migration(MIGRATION, "m.yaml")
    found = [f"{m.line}:{m.column} {m.at}: {m.reason}" for m in caught.value.mistakes]
    expected = [
        "6:15 up.rules[0].match.reason: is unknown here; see `redrive rules schema --migration`",
        "6:50 up.rules[0].match.when: undeclared reference to 'letter.attempt'",
        "8:55 up.rules[0].do[0].expression: found no matching overload",
        "9:38 up.rules[0].do[1].table: is no table here; there is none",
        "16:7 down.examples[0].event: is missing",
        "16:17 down.examples[0].letter: is unknown here",
        "16:64 down.examples[0].expect.rules[0]: is no rule of this file",
        "17:1 sideways: is unknown here",
    ]
    assert [line[: len(wanted)] for line, wanted in zip(found, expected, strict=True)] == expected
    assert str(caught.value).startswith("m.yaml:6:15: ")
    file = tmp_path / "m.yaml"
    file.write_text(MIGRATION)
    assert CliRunner().invoke(app, ["rules", "test", str(file)]).exit_code == 2


GOOD = """
topic: orders
up:
  match: all
  rules: [{name: a, match: {when: event.schema_id == 7}, do: [{op: add, path: /from, expression: string(event.key)}]}]
  examples:
    - {name: e, event: {value: {}, schema_id: 7, key: k}, expect: {value: {from: k}}}
    - {name: f, event: {value: {}}, expect: {unmatched: true}}
"""


def test_a_migration_may_have_rules_for_one_direction_only(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(GOOD)
    result = CliRunner().invoke(app, ["rules", "test", str(file), "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [one["outcome"]["kind"] for one in told["up"]["examples"]] == ["corrected", "unmatched"]
    assert "down" not in told
    table = CliRunner().invoke(app, ["rules", "test", str(file)])
    assert (table.exit_code, "down: no rules" in table.stdout, told["digest"] in table.stdout) == (0, True, True)
    file.write_text(GOOD.replace("key: k}", "key: z}"))
    assert CliRunner().invoke(app, ["rules", "test", str(file)]).exit_code == 1


def test_the_digest_of_a_migration_names_both_directions_and_the_topic() -> None:
    rules = "{match: all, rules: [{name: a, match: {}, skip: s}]}"
    texts = [f"topic: {rest}" for rest in (f"t\nup: {rules}", f"t\ndown: {rules}", f"u\nup: {rules}", "t\nup: null")]
    digests = [digest_of(parse_migration(text, "m")) for text in texts]
    assert len(set(digests)) == 4
    assert digest_of(parse_migration(f"# the same\n{texts[0]}", "n")) == digests[0]


def test_a_migration_is_no_file_of_corrections_and_the_other_way_round() -> None:
    with pytest.raises(RulesError, match="up: is unknown here"):
        load_rules(RULES / "flights_v2.yaml")
    with pytest.raises(RulesError, match="topic: is missing"):
        read_migration(RULES / "cancelled_flights.yaml")
