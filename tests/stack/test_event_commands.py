"""``redrive publish``, ``consume`` and ``standby status``: to a real cluster and back, or past one that is down."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.config import Config
from redrive.topics import apply_topics

GROUP = f"desk-{uuid.uuid4().hex[:8]}"
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
[topics."dlq.{GROUP}"]
domain = "sales"
partitions = 1
""")
    apply_topics(Config.load())
    return name


def publish(topic: str, lines: list[str], file: str = "-") -> tuple[int, dict[str, int], str]:
    arguments = ["publish", topic, file, "--producer", "shop", "--json"]
    result = CliRunner().invoke(app, arguments, input="\n".join(lines), catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout), result.stderr


def consume(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["consume", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def place(event: dict[str, Any]) -> tuple[int, int]:
    """Between partitions there is no order."""
    return event["partition"], event["offset"]


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


def test_what_was_published_is_read_back_with_keys_headers_and_ids(topic: str) -> None:
    line = json.dumps({"id": "order-7", "key": "k7", "value": {"id": 7}, "headers": {"from": "a test", "none": None}})
    publish(topic, [line])
    (event,) = consume(topic)
    assert (event["id"], event["key"], event["value"]) == ("order-7", "k7", {"id": 7})
    assert ["from", "a test"] in event["headers"]
    assert ["none", None] in event["headers"]


def test_looking_at_a_topic_leaves_no_trace_and_shows_what_can_not_be_decoded_as_it_is(topic: str) -> None:
    publish(topic, [order(number) for number in range(5)])
    producer = Producer(Config.load().cluster("local").client_config())
    producer.produce(topic, b"raw \xff", b"\xff")
    producer.flush(10)
    assert len(consume(topic, "--max", "2")) == 2
    first, second = (sorted(consume(topic), key=place) for _ in range(2))
    assert first == second
    assert len(first) == 6
    (odd,) = [event for event in first if "error" in event]
    assert (odd["key"], odd["value"]) == ("\\xff", "raw \\xff")
    assert "not a Confluent-framed Avro event" in odd["error"]


def test_dead_letters_are_shown_as_the_values_that_were_given(topic: str) -> None:
    publish(topic, [order("seven")])
    letters = [event for event in consume("dlq.shop") if event["key"] == "kseven"]
    assert letters
    assert json.loads(letters[-1]["value"]) == {"id": "seven"}


def test_a_group_goes_on_where_it_stopped(topic: str) -> None:
    publish(topic, [order(number) for number in range(10)])
    first = consume(topic, "--group", GROUP, "--max", "4")
    rest = consume(topic, "--group", GROUP, "--idle", "1")
    assert (len(first), len(rest)) == (4, 6)
    assert {event["value"]["id"] for event in first + rest} == set(range(10))
