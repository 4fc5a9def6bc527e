"""The commands that need no cluster: what they print, and the codes they end with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from redrive.cli import app, exit_code
from redrive.config import Config
from redrive.errors import (
    ConfigError,
    FencedError,
    HeldError,
    RedriveError,
    UnavailableError,
    UnknownOperationError,
)
from redrive.ledger import Ledger
from redrive.ledger.database import Database

SETTINGS = """\
[registry]
url = "http://registry.example"
[clusters.blue]
bootstrap = "blue.example:9092"
[domains.orders]
cluster = "blue"
[topics."orders.created"]
domain = "orders"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = tmp_path / "redrive.toml"
    settings.write_text(SETTINGS)
    monkeypatch.setenv("REDRIVE_CONFIG", str(settings))
    return settings


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a", "b"), 2),
        (UnknownOperationError("x", "none"), 2),
        (UnavailableError("kafka", "down"), 3),
        (HeldError("local/orders", "replay 1"), 1),
        (FencedError("unit"), 1),
    ],
)
def test_an_error_s_kind_is_told_by_the_exit_code(error: RedriveError, code: int) -> None:
    assert exit_code(error) == code


def test_good_settings_end_with_0() -> None:
    result = run("config", "check")
    assert (result.exit_code, result.stdout) == (
        0,
        "No mistake in the settings: clusters 1, domains 1, topics 1.\n",
    )


def test_each_mistake_is_a_line_and_the_end_is_2(file: Path) -> None:
    file.write_text(SETTINGS.replace('"blue"', '"red"').replace('"orders"', '"sales"'))
    result = run("config", "check")
    assert result.exit_code == 2
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == [
        "domains.orders.cluster",
        "topics.orders.created.domain",
    ]


def test_mistakes_are_to_be_had_as_json(file: Path) -> None:
    file.write_text(SETTINGS + "lanes = 0\n")
    result = run("config", "check", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == [
        {
            "setting": "topics.orders.created.lanes",
            "reason": "must be greater than or equal to 1",
            "where": f"{file}:9",
        }
    ]


def test_each_secret_that_is_not_here_is_named_with_its_setting_and_is_no_mistake(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured = 'security_protocol = "SASL_SSL"\nusername = "me"\npassword = { env = "BLUE_PASSWORD" }\n[domains.orders]'
    file.write_text(
        SETTINGS.replace("[domains.orders]", secured).replace(
            "[clusters", 'username = "me"\npassword = { file = "none" }\n[clusters', 1
        )
    )
    monkeypatch.delenv("BLUE_PASSWORD", raising=False)
    result = run("config", "check")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"not here: registry.password: can't read the secret from {file.parent / 'none'}: No such file or directory",
        "not here: clusters.blue.password: the environment variable BLUE_PASSWORD is not set",
    ]
    monkeypatch.setenv("BLUE_PASSWORD", "hunter2")
    (file.parent / "none").write_text("hunter2")
    assert not run("config", "check").stderr


def test_the_settings_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(SETTINGS.replace("blue", "green"))
    assert run("--config", str(tmp_path / "other.toml"), "config", "check").exit_code == 0
    assert set(Config.load().clusters) == {"green"}


def ledger() -> Ledger:
    return Ledger.open(Config.load().ledger_url())


def begin(opened: Ledger, operation_id: str) -> None:
    operation = opened.begin(
        "standby-replay",
        "run",
        cluster="blue",
        resources=["blue/orders.created"],
        who="anna",
        parameters={"rate": 5},
        operation_id=operation_id,
    )
    operation.note("lane drained", {"lane": 3})
    operation.finish("done", "proved", {"replayed": 41})


def test_an_empty_ledger_says_so() -> None:
    assert run("operations", "list").stdout == "The ledger has no such operation yet.\n"
    assert json.loads(run("operations", "list", "--json").stdout) == []


def test_operations_are_listed_for_people_and_for_programs() -> None:
    with ledger() as opened:
        begin(opened, "0a1b2c3d-1")
    table = run("operations", "list").stdout
    assert all(word in table for word in ("0a1b2c3d", "standby-replay", "proved", "blue/orders.created", "anna"))
    (row,) = json.loads(run("operations", "list", "--json").stdout)
    assert (row["id"], row["status"], row["counts"]) == ("0a1b2c3d-1", "done", {"replayed": 41})


def test_an_operation_is_shown_with_its_journal_by_the_first_letters_of_its_id() -> None:
    with ledger() as opened:
        begin(opened, "0a1b2c3d-1")
    shown = json.loads(run("operations", "show", "0a1b", "--json").stdout)
    assert [entry["kind"] for entry in shown["journal"]] == ["begun", "lane drained", "ended"]
    assert "lane drained" in run("operations", "show", "0a1b").stdout


def test_the_moves_of_a_plan_that_was_shown_or_approved_are_written_for_kafka_s_own_tool(tmp_path: Path) -> None:
    moves = [["orders", number, [1, 2], [3, 2], 10] for number in range(300)]
    with ledger() as opened:
        begin(opened, "0a1b2c3d-1")
        given = {"cluster": "blue", "resources": ["blue"], "who": "anna", "parameters": {}}
        planned = opened.begin("partition-rebalance", "run", operation_id="4d5e6f70-2", **given)  # type: ignore[arg-type]
        planned.plan({"job": "partition-rebalance", "cluster": "blue", "goal": {"mode": "balance"}, "moves": moves})
    file = tmp_path / "moves.json"
    said = run("operations", "show", "4d5e", "--reassignment-json", str(file))
    assert said.exit_code == 0, said.output
    written = json.loads(file.read_text())
    assert (written["version"], len(written["partitions"])) == (1, 300)
    assert written["partitions"][299] == {"topic": "orders", "partition": 299, "replicas": [3, 2]}
    refused = run("operations", "show", "0a1b", "--reassignment-json", str(tmp_path / "none.json"))
    assert isinstance(refused.exception, ConfigError)
    assert "has no plan of moves" in str(refused.exception)
    assert not (tmp_path / "none.json").exists()


def test_tampering_ends_verify_with_1() -> None:
    with ledger() as opened:
        begin(opened, "0a1b2c3d-1")
    assert run("operations", "verify").exit_code == 0
    with Database(Config.load().ledger_url()).writing() as session:
        session.execute(text("UPDATE operations SET verdict = 'counted'"))
    result = run("operations", "verify")
    assert result.exit_code == 1
    assert "verdict is not what the journal says" in result.stdout


@pytest.mark.parametrize("arguments", [["topics", "aply"], ["standby", "status", "--nonsense"], ["operations"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2
