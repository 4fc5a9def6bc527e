"""Partitions move on a live cluster; Kafka's own tools and another client say whether it is so."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions
from typer.testing import CliRunner

from redrive.cli import app
from redrive.errors import FencedError, ThrottleTooLowError
from redrive.partitions.inflow import Ends
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Result
from redrive.partitions.picture import Picture
from redrive.partitions.progress import Step
from redrive.partitions.throttle_settings import FOLLOWER_RATE, FOLLOWER_REPLICAS, LEADER_RATE, LEADER_REPLICAS
from tests.stack.partitions.lab import InBackground, Lab, until

MB = 1_000_000
QUICK = 100 * MB
SIZE, SLOW = 4 * MB, 200_000
"""So many bytes take seconds at this rate: Kafka lets through what the rate allows in ten seconds, then holds back."""


@pytest.fixture
def settings(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "redrive.toml"
    file.write_text(f"""\
[registry]
url = "http://in.the.environment"
[ledger]
url = "{lab.ledger_url}"
[clusters.local]
bootstrap = "{lab.bootstrap}"
[domains]
[topics]
""")
    monkeypatch.setenv("REDRIVE_CONFIG", str(file))
    return file


def steps(result: Result) -> dict[int, Step]:
    return {number: outcome.step for (_, number), outcome in sorted(result.outcomes.items())}


def test_a_picture_is_what_kafka_s_own_tools_say(lab: Lab, settings: Path) -> None:
    topic = lab.topic([[1, 2, 3], [2, 4, 1]], MB)
    with lab.consuming(topic):
        result = CliRunner().invoke(app, ["cluster", "show", "--json", "--measure", "2"])
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    ours = {each["partition"]: each for each in shown["partitions"] if each["topic"] == topic}
    consumed = {broker["id"]: broker["consumed_per_second"] for broker in shown["brokers"]}
    assert consumed[1] == ours[0]["consumed_per_second"] > 0
    assert (consumed[3], consumed[4]) == (0, 0)
    sizes = lab.log_sizes(topic)
    assert {number: (tuple(each["replicas"]), each["leader"], each["isr"]) for number, each in ours.items()} == {
        0: ((1, 2, 3), 1, [1, 2, 3]),
        1: ((2, 4, 1), 2, [1, 2, 4]),
    }
    assert {number: each["bytes"] for number, each in ours.items()} == {0: sizes[1, 0], 1: sizes[2, 1]}
    assert [(broker["id"], broker["up"]) for broker in shown["brokers"]] == [(1, True), (2, True), (3, True), (4, True)]
    assert all(broker["total_bytes"] > broker["usable_bytes"] > 0 for broker in shown["brokers"])
    assert (shown["without_leader"], shown["under_min_isr"], shown["ongoing"]) == ([], [], {})
    assert "partitions: 0 without a leader" in CliRunner().invoke(app, ["cluster", "show"]).stdout


def test_inflow_is_measured_where_it_arrives(lab: Lab) -> None:
    topic = lab.topic([[1, 2], [2, 1]])
    with lab.load(topic, 400_000):
        keys = [(topic, 0), (topic, 1)]
        ends = Ends(lab.writer, keys)
        picture = Picture.take(lab.writer, seconds=3)
        sizes = {(each.topic, each.number): each.size for each in picture.layout.partitions}
        by_offsets = ends.rates(keys, sizes)
    assert picture.inflow is not None
    assert all(100_000 < inflow[key] < 300_000 for inflow in (picture.inflow, by_offsets) for key in keys)


def test_a_throttled_move_under_load_arrives_is_led_as_planned_and_leaves_nothing_behind(lab: Lab) -> None:
    topic = lab.topic([[1, 2, 3], [2, 3, 1], [3, 1, 2]], 4 * MB)
    moves = [
        Move(topic, 0, (1, 2, 3), (4, 2, 3), 4 * MB),
        Move(topic, 1, (2, 3, 1), (2, 3, 4), 4 * MB),
        Move(topic, 2, (3, 1, 2), (1, 3, 2), 4 * MB),  # only another order
    ]
    began = time.monotonic()
    with lab.load(topic, 200_000) as took:
        result = lab.execution(rate=2 * MB).run(moves)
    seconds = time.monotonic() - began
    assert result.proved, result.evidence()
    assert lab.replicas(topic) == {0: (4, 2, 3), 1: (2, 3, 4), 2: (1, 3, 2)}
    assert lab.leaders(topic) == {0: 4, 1: 2, 2: 1}
    assert lab.verify(moves).count("is completed") == 3
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []
    assert max(took) < 30  # none failed, and none waited for the move
    # Broker 4 receives 8 MB, of which the first second's worth or so passes before Kafka holds back.
    assert seconds > 3
    assert max(report.per_second or 0 for report in lab.reports if report.copied > 4 * MB) < 3 * MB
    copied = [report.copied for report in lab.reports]
    assert copied[-1] == lab.reports[-1].to_copy
    assert any(report.seconds_left for report in lab.reports)


def test_throttles_that_were_there_survive_static_and_dynamic_ones(lab: Lab) -> None:
    topic = lab.topic([[1, 2], [2, 3]], SIZE, **{LEADER_REPLICAS: "*", FOLLOWER_REPLICAS: "1:3"})
    lab.set("broker", "", leader_replication_throttled_rate="70000000")
    lab.set("broker", "4", leader_replication_throttled_rate="60000000", follower_replication_throttled_rate="60000000")
    try:
        until(lambda: len(lab.throttles(topic)) == 5)
        before = lab.throttles(topic)
        execution = lab.execution(rate=SLOW)
        running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), SIZE)]))
        until(lambda: lab.moves(topic))
        time.sleep(0.5)
        during = lab.throttles(topic)
        assert during["topic"] == {LEADER_REPLICAS: "*", FOLLOWER_REPLICAS: "1:3,0:4"}
        assert {during[broker][rate] for broker in "124" for rate in (LEADER_RATE, FOLLOWER_RATE)} == {str(SLOW)}
        assert during["3"] == before["3"]
        execution.change_rate(QUICK)
        assert running.result().proved
        assert lab.throttles(topic) == before
    finally:
        lab.unset_rates("", "4")


def test_a_throttle_set_by_somebody_else_meanwhile_is_left_and_said(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], 3 * SIZE)
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), 3 * SIZE)]))
    until(lambda: lab.moves(topic))
    try:
        lab.set("broker", "4", follower_replication_throttled_rate="12345678")
        lab.set("broker", "1", leader_replication_throttled_rate="12345678")  # which lets the rest through
        result = running.result()
        assert steps(result) == {0: Step.DONE}
        assert result.respected == tuple(
            f"{rate} of broker {broker} is left as somebody else has set it: 12345678"
            for rate, broker in ((FOLLOWER_RATE, 4), (LEADER_RATE, 1))
        )
        assert lab.throttles(topic) == {"1": {LEADER_RATE: "12345678"}, "4": {FOLLOWER_RATE: "12345678"}}
    finally:
        lab.unset_rates("1", "4")


def test_a_throttle_changed_in_mid_run_takes_effect(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], 2 * SIZE)
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), 2 * SIZE)]))
    until(lambda: lab.moves(topic))
    time.sleep(3)
    assert lab.moves(topic)
    began = time.monotonic()
    execution.change_rate(QUICK)
    assert running.result().proved
    assert time.monotonic() - began < 30  # at the first rate it would have been over half a minute
    assert lab.throttles(topic) == {}


def test_a_throttle_that_can_t_converge_is_refused_before_anything_changes(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], 5 * SIZE)
    with lab.load(topic, 400_000):
        with pytest.raises(ThrottleTooLowError) as caught:
            lab.execution(rate=50_000).run([Move(topic, 0, (1, 2), (4, 2), 5 * SIZE)])
        assert caught.value.broker == 1  # who sends it to two followers
        assert 500_000 < caught.value.needed < 1_000_000
        assert lab.ledger.debts.latest(1) == []
        assert lab.replicas(topic) == {0: (1, 2)}
        execution = lab.execution(rate=2 * caught.value.least)
        running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), 5 * SIZE)]))
        until(lambda: lab.moves(topic))
        with pytest.raises(ThrottleTooLowError):
            execution.change_rate(50_000)
        execution.change_rate(QUICK)
        assert running.result().proved


def test_what_somebody_else_does_to_a_partition_is_respected_and_stops_nothing_else(lab: Lab) -> None:
    topic = lab.topic([[1, 2], [1, 2], [2, 1]], SIZE, **{LEADER_REPLICAS: "*", FOLLOWER_REPLICAS: "*"})
    moves = [Move(topic, number, before, (*before[:1], 4), SIZE) for number, before in lab.replicas(topic).items()]
    lab.writer.reassign({(topic, 1): (3, 2)})
    until(lambda: lab.replicas(topic)[1] == (3, 2))
    lab.set("broker", "1", leader_replication_throttled_rate="1000")
    try:
        lab.writer.reassign({(topic, 0): (1, 3)})  # for long, at this rate
        until(lambda: lab.moves(topic))
        result = lab.execution().run(moves)
        assert steps(result) == {0: Step.TAKEN, 1: Step.CHANGED, 2: Step.DONE}
        assert result.outcomes[topic, 0].reason == "it moves to [1, 3]"
        assert result.outcomes[topic, 1].reason == "its replicas are [3, 2]"
        assert result.ongoing == ((topic, 0),)
        assert not result.proved
        assert lab.writer.ongoing()[topic, 0].target == (1, 3)
    finally:
        lab.writer.cancel([(topic, 0)])
        lab.unset_rates("1")


def test_an_order_that_somebody_else_gives_over_one_that_is_under_way_is_left_to_them(lab: Lab) -> None:
    topic = lab.topic([[1, 2], [1, 2]], SIZE)
    moves = [Move(topic, number, (1, 2), (4, 2), SIZE) for number in range(2)]
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run(moves))
    until(lambda: len(lab.writer.ongoing()) == 2)
    assert lab.writer.reassign({(topic, 0): (3, 2)}) == {}
    execution.change_rate(QUICK)
    result = running.result()
    assert steps(result)[0] in (Step.TAKEN, Step.CHANGED)  # by whether theirs has ended before ours
    assert "[3, 2]" in result.outcomes[topic, 0].reason
    assert (result.complete, result.proved) == (True, False)
    until(lambda: lab.replicas(topic) == {0: (3, 2), 1: (4, 2)})
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []


@pytest.mark.parametrize("how", ["cancelled", "ordered back"])
def test_a_move_that_somebody_else_ends_in_mid_run_is_not_ordered_again(lab: Lab, how: str) -> None:
    topic = lab.topic([[1, 2], [1, 2]], SIZE)
    moves = [Move(topic, number, (1, 2), (4, 2), SIZE) for number in range(2)]
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run(moves))
    until(lambda: bool(lab.reports) and lab.reports[-1].steps.get(Step.IN_FLIGHT) == 2)
    if how == "cancelled":
        assert lab.writer.cancel([(topic, 0)]) == {}
    else:
        assert lab.writer.reassign({(topic, 0): (1, 2)}) == {}
    time.sleep(1)  # it has been looked at
    execution.change_rate(QUICK)
    result = running.result()
    assert steps(result) in ({0: Step.CHANGED, 1: Step.DONE}, {0: Step.TAKEN, 1: Step.DONE})
    assert (result.complete, result.proved) == (True, False)
    theirs = lab.writer.ongoing().get((topic, 0))  # Kafka may take long over such an order
    assert theirs.target == (1, 2) if theirs else set(lab.replicas(topic)[0]) == {1, 2}
    assert lab.replicas(topic)[1] == (4, 2)
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []
    assert lab.execution().run(moves).proved  # whoever wants it all the same says so


def test_topics_that_are_made_meanwhile_are_left_where_they_are_also_one_with_the_name_of_one_that_moved(
    lab: Lab,
) -> None:
    remade, other = lab.topic([[1, 2]], SIZE), lab.topic([[1, 2]], SIZE)
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), SIZE) for topic in (remade, other)]))
    until(lambda: lab.moves(remade, other))
    lab.kafka.delete_topics([remade])[remade].result()
    until(lambda: lab.make(remade, [[2, 3]]))  # until the brokers have forgotten the first one
    new = lab.topic([[4, 3]], MB)
    execution.change_rate(QUICK)
    result = running.result()
    assert {topic: outcome.step for (topic, _), outcome in result.outcomes.items()} == {
        remade: Step.CHANGED,
        other: Step.DONE,
    }
    assert (lab.replicas(remade), lab.replicas(new)) == ({0: (2, 3)}, {0: (4, 3)})
    assert [lab.throttles(topic) for topic in (remade, other, new)] == [{}, {}, {}]
    assert lab.ledger.debts.owed() == []


def test_a_topic_that_is_deleted_or_gets_partitions_meanwhile_stops_nothing_else(lab: Lab) -> None:
    doomed, growing = lab.topic([[1, 2]], SIZE), lab.topic([[1, 2]], SIZE)
    moves = [Move(topic, 0, (1, 2), (4, 2), SIZE) for topic in (doomed, growing)]
    execution = lab.execution(rate=SLOW)
    running = InBackground(lambda: execution.run(moves))
    until(lambda: lab.moves(doomed, growing))
    lab.kafka.delete_topics([doomed])[doomed].result()
    lab.kafka.create_partitions([NewPartitions(growing, 2)])[growing].result()
    execution.change_rate(QUICK)
    result = running.result()
    assert {topic: outcome.step for (topic, _), outcome in result.outcomes.items()} == {
        doomed: Step.GONE,
        growing: Step.DONE,
    }
    assert lab.replicas(growing)[0] == (4, 2)
    assert lab.throttles(growing) == {}
    assert lab.ledger.debts.owed() == []


def test_a_move_that_the_cluster_refuses_is_an_outcome(lab: Lab) -> None:
    topic = lab.topic([[1, 2], [1, 2]])
    moves = [Move(topic, 0, (1, 2), (2, 1)), Move(topic, 1, (1, 2), (2, 2))]
    result = lab.execution(patience=3).run(moves)
    assert steps(result) == {0: Step.DONE, 1: Step.REFUSED}
    assert result.outcomes[topic, 1].reason == "InvalidReplicationAssignmentError"


def test_a_run_whose_operation_was_begun_again_elsewhere_orders_and_sets_nothing(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], MB)
    execution = lab.execution(rate=QUICK)
    (row,) = lab.ledger.operations(1)
    given = {"cluster": "local", "resources": ["local"], "who": "anna", "parameters": {}}
    lab.ledger.begin("partition-rebalance", "run", operation_id=row.id, **given)
    for moves in ([Move(topic, 0, (1, 2), (2, 1), MB)], [Move(topic, 0, (1, 2), (4, 2), MB)]):
        with pytest.raises(FencedError):
            execution.run(moves)
    assert lab.replicas(topic) == {0: (1, 2)}
    assert lab.throttles(topic) == {}


@pytest.mark.parametrize("cancel", [False, True], ids=["after what is in flight", "taking it back"])
def test_a_run_that_is_asked_to_stop_stops(lab: Lab, cancel: bool) -> None:
    topic = lab.topic([[1, 2, 3], [1, 2, 3]], SIZE)
    moves = [Move(topic, number, (1, 2, 3), (4, 3, 1), SIZE) for number in range(2)]
    stop = threading.Event()
    execution = lab.execution(rate=SLOW, per_broker=1)
    running = InBackground(lambda: execution.run(moves, stop=stop, cancel_in_flight=cancel))
    until(lambda: lab.moves(topic))
    stop.set()
    if not cancel:
        execution.change_rate(QUICK)
    result = running.result()
    assert result.stopped == "asked to stop"
    assert steps(result) == {0: Step.PENDING if cancel else Step.DONE, 1: Step.PENDING}
    assert lab.replicas(topic) == {0: (1, 2, 3) if cancel else (4, 3, 1), 1: (1, 2, 3)}
    assert lab.throttles(topic) == {}
    assert result.ongoing == ()


def test_rolling_back_restores_the_exact_order_of_what_is_done_and_what_is_under_way(lab: Lab) -> None:
    topic = lab.topic([[1, 2, 3], [1, 2, 3], [2, 3, 1]], SIZE)
    before = lab.replicas(topic)
    moves = [
        Move(topic, 0, (1, 2, 3), (4, 3, 1), 2 * MB),
        Move(topic, 1, (1, 2, 3), (3, 2, 4), 2 * MB),
        Move(topic, 2, (2, 3, 1), (1, 3, 2), 2 * MB),
    ]
    assert lab.execution().run(moves[:1]).proved
    lab.set("broker", "4", follower_replication_throttled_rate="1000")
    lab.set("topic", topic, follower_replication_throttled_replicas="*")
    try:
        assert lab.writer.reassign({(topic, number): moves[number].after for number in (1, 2)}) == {}
        until(lambda: (topic, 1) in lab.writer.ongoing())  # as a run leaves it that was killed
        result = lab.execution().roll_back(moves)
        assert result.proved, result.evidence()
        assert lab.replicas(topic) == before
        assert lab.leaders(topic) == {0: 1, 1: 1, 2: 2}
    finally:
        lab.unset_rates("4")
