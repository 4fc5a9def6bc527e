"""``redrive publish`` and ``redrive standby status``, from a file to a real cluster, or past one that is down."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.config import Config
from redrive.topics import apply_topics

SCHEMA = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}]}


@pytest.fixture
def topic(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic of its own, in settings of its own, with the producer ``shop``."""
    name = f"orders.{uuid.uuid4().hex[:8]}"
    for variable, value in stack.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("REDRIVE_STANDBY__TABLE", f"standby-{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    (tmp_path / "order.avsc").write_text(json.dumps(SCHEMA))
    (tmp_path / "redrive.toml").write_text(f"""\
[registry]
url = "http://in.the.environment"
[clusters.local]
bootstrap = "in.the.environment:1"
[domains.sales]
cluster = "local"
[topics."{name}"]
domain = "sales"
partitions = 2
schema = "order.avsc"
[topics."dlq.shop"]
domain = "sales"
partitions = 1
""")
    apply_topics(Config.load())
    return name


def publish(topic: str, lines: list[str], file: str = "-") -> tuple[int, dict[str, int], str]:
    arguments = ["publish", topic, file, "--producer", "shop", "--json"]
    result = CliRunner().invoke(app, arguments, input="\n".join(lines), catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout), result.stderr


def order(number: object) -> str:
    return json.dumps({"key": f"k{number}", "value": {"id": number}, "headers": {"from": "a test"}})


def test_events_that_fit_go_to_the_topic_and_those_that_do_not_become_dead_letters(topic: str) -> None:
    code, counts, told = publish(topic, [order(1), order("two"), "", order(3)])
    assert code == 0
    assert (counts["main"], counts["dead_letter"], counts["standby"]) == (2, 1, 0)
    assert told.startswith(f"line 2: dead letter: event for {topic}: field 'id' is a string")


def test_a_line_that_can_not_be_read_stops_none_of_the_others(topic: str) -> None:
    code, counts, told = publish(topic, [order(1), "nonsense", '{"key": "no value"}', order(4)])
    assert code == 1
    assert (counts["main"], counts["unreadable"]) == (2, 2)
    assert [line.split(":")[0] for line in told.splitlines()] == ["line 2", "line 3"]


def test_events_are_read_from_a_file_too(topic: str, tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text("".join(order(number) + "\n" for number in range(100)))
    code, counts, _ = publish(topic, [], str(tmp_path / "orders.jsonl"))
    assert (code, counts["main"]) == (0, 100)


def test_what_is_published_past_a_cluster_that_is_down_is_seen_waiting(
    topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDRIVE_CLUSTERS__LOCAL__BOOTSTRAP", "127.0.0.1:1")
    code, counts, _ = publish(topic, [order(number) for number in range(50)])
    assert (code, counts["main"], counts["standby"]) == (0, 0, 50)
    status = CliRunner().invoke(app, ["standby", "status", topic, "--json"], catch_exceptions=False)
    lanes = json.loads(status.stdout)
    assert sum(lane["events"] for lane in lanes) == 50
    assert {lane["state"] for lane in lanes if lane["events"]} == {"divert"}
    table = CliRunner().invoke(app, ["standby", "status", topic], catch_exceptions=False).stdout
    assert "50 events" in table
    assert "wait in" in table
