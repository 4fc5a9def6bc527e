"""The job `partition-rebalance` on real brokers, as a flow run on a real Prefect server."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app
from redrive.config import Config
from redrive.ledger import Change, Ledger
from redrive.partitions.probe import PROBE_TOPIC, ensure_probe
from redrive.partitions.state import Resource
from redrive.partitions.writer import PartitionWriter
from tasks.ending import plan_key, report_key
from tests.stack.backlog import word
from tests.stack.yard import MB, Yard, opened

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def yard(fault_stack: Stack, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    with opened(fault_stack, stack, tmp_path, monkeypatch) as yard:
        yield yard


def test_a_plan_shows_what_would_move_and_moves_nothing(yard: Yard) -> None:
    yard.create([[3, 1], [3, 2], [1, 2]], size=MB)
    state = yard.run(mode="plan")
    assert word(state) == "planned", state.message
    assert yard.replicas() == [[3, 1], [3, 2], [1, 2]]
    shown = yard.artifact(plan_key("partition-rebalance"))
    assert "2 partitions to move, 2.0 MB to copy" in shown
    assert "data:image/svg+xml;base64," in shown
    assert f'"topic": "{yard.topic}", "partition": 0' in shown


def test_a_drained_broker_is_empty_with_proof_and_back_again_to_the_exact_order(yard: Yard) -> None:
    yard.create([[3, 1], [2, 3], [1, 2]], size=MB)
    state = yard.run()
    assert all(3 not in replicas for replicas in yard.replicas())
    operation = yard.operation()
    assert (operation.counts or {})["bytes"] >= 2 * MB
    shown = yard.artifact(report_key("partition-rebalance"))
    # All other topics were left alone: what is still there depends on what other tests have there.
    assert operation.evidence is not None
    held = operation.evidence["still_held"]["3"]
    assert not [partition for partition in held if partition.startswith(yard.topic)]
    # It is proved only if the broker may be taken away, and this one is a controller as well.
    assert (operation.evidence["controllers"], operation.evidence["safe_to_remove"]) == ([3], [])
    assert (operation.status, operation.verdict, word(state)) == ("failed", "failed", "failed"), state.message
    assert yard.did(state) == "proved"
    assert "broker 3 is not safe to remove" in shown
    assert "it is a controller as well" in shown

    state = yard.run("roll_back")
    assert word(state) == "proved", state.message
    assert yard.replicas() == [[3, 1], [2, 3], [1, 2]]


def test_leaders_are_spread_without_copying(yard: Yard) -> None:
    yard.create([[1, 2, 3]] * 60)  # more than other tests' topics, which have leaders too, can make up for
    state = yard.run("leaders")
    assert word(state) == "proved", state.message
    assert (yard.operation().counts or {})["bytes"] == 0
    with_leader = yard.kafka.list_topics(timeout=10).topics[yard.topic].partitions
    assert [each.leader for each in with_leader.values()] == [replicas[0] for replicas in yard.replicas()]


def test_the_plan_on_the_command_line_is_the_same_and_is_written_for_kafkas_own_tool(yard: Yard) -> None:
    yard.create([[3], [1]], size=MB)
    others = [name for name in yard.kafka.list_topics(timeout=10).topics if name != yard.topic]
    file = yard.folder / "moves.json"
    options = ["--goal", "drain_brokers", "--broker", "3", "--reassignment-json", str(file)]
    excluded = [word for name in others for word in ("--excluded-topic", name)]
    result = CliRunner().invoke(app, ["cluster", "plan", *options, *excluded])
    assert result.exit_code == 0, result.output
    assert "1 moves" in result.stdout
    (move,) = json.loads(file.read_text())["partitions"]
    assert (move["topic"], move["partition"]) == (yard.topic, 0)
    assert 3 not in move["replicas"]
    assert yard.replicas() == [[3], [1]]


def test_nothing_to_move_is_told_and_done(yard: Yard) -> None:
    yard.create([[1]])  # of two, the other one may have to lead, since other tests' topics have leaders, too
    assert yard.did(yard.run()) == "nothing to move"


def test_another_run_that_moves_partitions_there_keeps_this_one_out(yard: Yard) -> None:
    yard.create([[3, 1]])
    with Ledger.open(Config.load(yard.file).ledger_url()) as ledger:
        other = ledger.begin("partition-rebalance", "run", cluster="local", resources=[], who="x", parameters={})
        ledger.claim(["local/:settings"], other)
        with other.keep_alive():
            state = yard.run()
    assert word(state) == "refused"
    assert f"partition-rebalance {other.id}" in (state.message or "")
    assert yard.replicas() == [[3, 1]]


def test_moves_wait_for_a_job_that_brings_events_back(yard: Yard) -> None:
    yard.create([[3, 1]], size=MB)
    with Ledger.open(Config.load(yard.file).ledger_url()) as ledger:
        other = ledger.begin("standby-replay", "run", cluster="local", resources=[], who="x", parameters={})
        ledger.claim([f"local/{yard.topic}"], other)
        ended = threading.Timer(6, lambda: other.finish("done"))
        with other.keep_alive():
            ended.start()
            began = time.monotonic()
            state = yard.run()
            took = time.monotonic() - began
            ended.join()
    assert yard.did(state) == "proved", state.message
    assert took > 5


def test_a_run_that_finds_nothing_to_move_restores_what_a_dead_one_has_left(yard: Yard) -> None:
    yard.create([[1]])
    config = Config.load(yard.file)
    with Ledger.open(config.ledger_url()) as ledger, PartitionWriter(config.cluster("local")) as writer:
        dead = ledger.begin("partition-rebalance", "run", cluster="local", resources=[], who="x", parameters={})
        name, resource = "follower.replication.throttled.replicas", Resource("topic", yard.topic)
        ledger.debts.owe(dead, "local", [Change("topic", yard.topic, name, None, "0:1")])
        assert writer.configure({resource: {name: "0:1"}}) == {}
        assert yard.did(yard.run()) == "nothing to move"
        assert ledger.debts.owed() == []
        assert writer.settings([resource], [name])[resource][name].own is None


def test_a_throttle_that_follows_limits_moves_what_is_to_move_and_says_what_producers_felt(yard: Yard) -> None:
    yard.create([[3, 1], [1, 2]], size=MB)
    ensure_probe({"bootstrap.servers": yard.bootstrap})
    while PROBE_TOPIC not in yard.kafka.list_topics(timeout=10).topics:  # or it would not be left out of the move
        time.sleep(0.1)
    state = yard.run(throttle="auto", max_produce_latency=20_000)
    assert yard.did(state) == "proved", state.message
    evidence = yard.operation().evidence or {}
    measured = evidence["produce_p99_ms"]
    assert 0 < measured["before"] < 20_000
    assert 0 < measured["during"] < 20_000
    assert evidence["throttle"]["lowest"] >= 1
    shown = yard.artifact(report_key("partition-rebalance"))
    assert f"during the moves, by {measured['events']:,} events of a probe" in shown
    plan = yard.artifact(plan_key("partition-rebalance"))
    assert "1 of 100 events takes more than 20,000 ms to publish" in plan
    assert yard.rates() == set()


def test_a_throttle_that_is_too_low_is_refused_with_what_would_do(yard: Yard) -> None:
    yard.create([[3, 1]], size=MB)
    stop = threading.Event()

    def load() -> None:
        producer = Producer({"bootstrap.servers": yard.bootstrap})
        while not stop.wait(0.05):
            producer.produce(yard.topic, os.urandom(20_000), partition=0)
            producer.poll(0)
        producer.flush(10)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        state = yard.run(throttle=0.01)
    finally:
        stop.set()
        thread.join()
    assert word(state) == "refused"
    assert "can't converge" in (state.message or "")
    assert yard.replicas() == [[3, 1]]


def test_a_run_that_comes_to_no_good_end_goes_back_by_itself_if_it_is_to(yard: Yard) -> None:
    yard.create([[3, 1], [3, 1]], sizes=[0, 4 * MB])
    # What Kafka lets through at first is a megabyte or so: then nothing moves for longer than its patience.
    state = yard.run(throttle=0.01, patience=5.0, moves_per_broker=1, on_failure="roll_back")
    assert word(state) == "rolled back", state.message
    assert "2 of 2 partitions are as they were before, in their order, because nothing has moved" in str(state.message)
    assert yard.replicas() == [[3, 1], [3, 1]]
    assert yard.rates() == set()
    operation = yard.operation()
    assert (operation.counts or {})["bytes"] == 0  # what was under way has not come to its end
    assert (operation.evidence or {})["back"]["not_done"] == {}
    state = yard.run("roll_back")
    assert "has taken its moves back; nothing is left to do" in str(state.message)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"brokers": [9]}, "brokers: 9 is not among the cluster"),
        ({"goal": "go_on"}, "goal: no run has moved partitions of cluster local yet"),
        ({"goal": "balance", "brokers": [1]}, "brokers: goal balance takes none"),
        (
            {"goal": "balance", "throttle": "auto"},
            "throttle: auto follows limits, and none is given: give a produce latency",
        ),
        (
            {"goal": "balance", "watched_groups": [{"group": "no-such"}]},
            "no-such has committed nothing on cluster",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(yard: Yard, given: dict[str, Any], told: str) -> None:
    yard.create([[1, 2]])
    goal = given.pop("goal", "add_brokers")
    state = yard.run(goal, **given)
    assert word(state) == "refused"
    assert told in (state.message or "")
