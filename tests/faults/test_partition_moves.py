"""Moves of partitions whose process is killed with -9, and whose brokers die."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.local import kafka
from deployments.local.stack import Stack
from redrive.cli import app
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Result
from redrive.partitions.picture import BrokerPicture, Picture
from redrive.partitions.planner import Goal
from redrive.partitions.progress import Step
from redrive.partitions.rebalancing import plan_of
from redrive.partitions.removal import drained
from redrive.partitions.throttle_settings import FOLLOWER_RATE, LEADER_RATE
from tests.faults.moves_plan import draw
from tests.faults.moves_rounds import Run, run_round
from tests.stack.partitions.lab import Lab, until

pytestmark = pytest.mark.timeout(300)

MB = 1_000_000
SIZE, SLOW, QUICK = 3 * MB, 200_000, 100 * MB


@pytest.fixture
def lab(fault_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr("redrive.partitions.execution.SAMPLE", 0.3)
    if len(fault_stack.brokers) == 3:
        fault_stack.add_broker()
    lab = Lab(fault_stack, tmp_path)
    yield lab
    lab.close()


def three_moves(lab: Lab) -> tuple[str, list[Move]]:
    """Two that copy, one after the other, and one that is only another order; two of them change the leader."""
    topic = lab.topic([[1, 2, 3], [1, 2, 3], [2, 3, 1]], SIZE)
    return topic, [
        Move(topic, 0, (1, 2, 3), (4, 3, 1), SIZE),
        Move(topic, 1, (1, 2, 3), (1, 2, 4), SIZE),
        Move(topic, 2, (2, 3, 1), (3, 1, 2), SIZE),
    ]


POINTS = [
    ("before owe:1", "run"),
    ("after owe:1", "roll_back"),
    ("after configure:1", "run"),
    ("after configure:2", "roll_back"),
    ("before reassign:1", "run"),
    ("after reassign:1", "roll_back"),
    ("after reassign:2", "run"),
    ("after reassign:2", "roll_back"),
    ("before elect_preferred:1", "run"),
    ("after elect_preferred:1", "roll_back"),
    ("before settle:1", "run"),
    ("after settle:1", "roll_back"),
]


@pytest.mark.parametrize(("point", "way"), POINTS)
def test_a_run_killed_anywhere_goes_on_or_goes_back_and_owes_nothing(lab: Lab, point: str, way: str) -> None:
    topic, moves = three_moves(lab)
    before = lab.replicas(topic)
    # Slow enough to be killed with replicas under way, where it is to be; quick where it has to get to its end.
    late = point.split()[1].startswith(("elect", "settle"))
    run = Run(lab, moves, QUICK if late else SLOW)
    run.die("run", point)
    evidence = run.end(way)
    assert evidence["proved"], evidence
    assert lab.replicas(topic) == ({move.number: move.after for move in moves} if way == "run" else before)
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []
    assert lab.ledger.verify_chain() == []


def test_a_round_of_kills_and_turns_ends_as_planned_or_as_before(lab: Lab) -> None:
    """One of the campaign in which no broker is lost; ``make soak JOB=partition-rebalance`` has the others."""
    done = run_round(lab, draw(11))
    assert done.kills
    assert done.violations == [], str(done)


@pytest.mark.parametrize("point", ["after cancel:1", "after reassign:1"])
def test_a_way_back_killed_half_way_is_taken_to_its_end_or_turned_round(lab: Lab, point: str) -> None:
    topic, moves = three_moves(lab)
    before = lab.replicas(topic)
    run = Run(lab, moves, SLOW)
    run.die("run", "after reassign:2")
    assert lab.moves(topic)
    run.die("roll_back", point)
    assert run.end("roll_back")["proved"]
    assert lab.replicas(topic) == before
    assert run.end("run")["proved"]
    assert lab.replicas(topic) == {move.number: move.after for move in moves}
    assert lab.throttles(topic) == {}


def test_what_a_killed_run_owes_can_be_settled_by_a_command(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redrive.toml").write_text(f"""\
[registry]
url = "http://in.the.environment"
[ledger]
url = "{lab.ledger_url}"
[clusters.local]
bootstrap = "{lab.bootstrap}"
[domains]
[topics]
""")
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    topic, moves = three_moves(lab)
    Run(lab, moves, SLOW).die("run", "after reassign:2")
    assert set(lab.throttles(topic)) == {"1", "2", "3", "4", "topic"}
    owed = json.loads(CliRunner().invoke(app, ["debts", "list", "--json"]).stdout)
    assert len(owed) == 10  # two rates on each of four brokers, two lists of the topic
    assert "owed" in CliRunner().invoke(app, ["debts", "list"]).stdout
    result = CliRunner().invoke(app, ["debts", "settle"])
    assert (result.exit_code, result.stdout) == (1, "0 settings settled, 10 owed still.\n")
    assert "--goal go_on" in result.stderr
    assert set(lab.throttles(topic)) == {"1", "2", "3", "4", "topic"}
    result = CliRunner().invoke(app, ["debts", "settle", "--now"])
    assert (result.exit_code, result.stdout) == (0, "10 settings settled, 0 owed still.\n  10 restored\n")
    assert lab.throttles(topic) == {}
    assert CliRunner().invoke(app, ["debts", "list"]).stdout == "Nothing is owed.\n"
    until(lambda: not lab.moves(topic))


class Moving:
    """An execution in a thread."""

    def __init__(self, lab: Lab, moves: list[Move], rate: int, **limits: Any) -> None:
        self.execution = lab.execution(rate, **limits)
        self._results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self._results.append(self.execution.run(moves)), daemon=True)
        self._thread.start()

    def result(self) -> Result:
        self._thread.join(120)
        (result,) = self._results
        return result


def test_a_destination_that_dies_is_waited_for_and_the_reason_is_shown(lab: Lab) -> None:
    topic = lab.topic([[1, 2, 3], [1, 2, 3]], SIZE)
    moves = [Move(topic, number, (1, 2, 3), (1, 2, 4), SIZE) for number in range(2)]
    moving = Moving(lab, moves, SLOW, per_broker=1)
    until(lambda: lab.moves(topic))
    lab.stack.kill("kafka-4")
    until(lambda: bool(lab.reports) and "broker 4 is down" in lab.reports[-1].waiting_for)
    lab.stack.start("kafka-4")
    moving.execution.change_rate(QUICK)
    result = moving.result()
    assert result.proved, result.evidence()
    assert lab.throttles(topic) == {}


def test_a_destination_that_stays_dead_ends_the_run_with_what_is_under_way_taken_back(lab: Lab) -> None:
    topic = lab.topic([[1, 2, 3]], SIZE)
    move = Move(topic, 0, (1, 2, 3), (4, 3, 1), SIZE)
    execution = lab.execution(SLOW, patience=4.0)
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(execution.run([move], cancel_in_flight=True)), daemon=True)
    thread.start()
    until(lambda: lab.moves(topic))
    lab.stack.kill("kafka-4")
    thread.join(90)
    (result,) = results
    # Why, it says if the cluster itself has noticed by then.
    assert result.stopped in ("nothing has moved for 4 s", "nothing has moved for 4 s: broker 4 is down")
    assert result.outcomes[topic, 0].step is Step.PENDING
    assert lab.replicas(topic) == {0: (1, 2, 3)}
    # The dead broker has kept its rate, which nothing uses; all others are as before.
    assert len(result.owed) == 1
    assert lab.throttles(topic) == {}
    assert {row.name for row in lab.ledger.debts.owed()} == {"4"}
    lab.stack.start("kafka-4")
    assert lab.execution().run([]).owed == ()
    assert lab.throttles(topic) == {}


def test_a_replica_that_has_to_catch_up_is_waited_for_before_the_verdict(lab: Lab) -> None:
    topic = lab.topic([[1, 2, 4]], SIZE)
    lab.stack.kill("kafka-4")
    lab.fill(topic, SIZE, [0])
    moving = Moving(lab, [Move(topic, 0, (1, 2, 4), (4, 2, 1), SIZE)], QUICK)  # only another order: it needs no copy
    until(lambda: lab.replicas(topic) == {0: (4, 2, 1)})
    lab.stack.start("kafka-4")
    result = moving.result()
    assert result.proved, result.evidence()
    until(lambda: lab.leaders(topic) == {0: 4})


def _fourth(picture: Picture) -> BrokerPicture:
    return next(broker for broker in picture.brokers if broker.id == 4)


def test_a_dead_broker_keeps_no_throttle_from_being_set_or_lifted_and_can_be_drained(lab: Lab) -> None:
    """KAFKA-13392, and draining a broker that is lost."""
    topic = lab.topic([[1, 2, 4]], SIZE)
    lab.stack.kill("kafka-4")
    until(lambda: lab.alive() == [1, 2, 3])
    until(lambda: not _fourth(Picture.take(lab.writer)).up)  # another broker may hear of it later
    began = time.monotonic()
    picture = Picture.take(lab.writer)
    broker = _fourth(picture)
    assert (broker.up, broker.size, broker.unknown) == (False, None, "it is down")
    assert (topic, 0) in picture.under_replicated
    others = frozenset(name for name, _ in picture.partitions if name != topic)
    made = plan_of(picture, Goal("drain_brokers", brokers=frozenset({4}), excluded_topics=others))
    assert [move.added for move in made.moves] == [(3,)]
    result = lab.execution(QUICK).run(made.moves)
    assert result.proved, result.evidence()
    assert time.monotonic() - began < 60, "it has waited for the dead broker"
    assert drained([4], lab.writer.brokers().values(), lab.writer.partitions([topic]), lab.writer.voters()).safe == [4]
    assert lab.throttles(topic) == {}


def test_a_killed_leader_delays_a_move_and_no_more(lab: Lab) -> None:
    topic = lab.topic([[3, 1, 2]], SIZE)
    moving = Moving(lab, [Move(topic, 0, (3, 1, 2), (3, 1, 4), SIZE)], SLOW)
    until(lambda: lab.moves(topic))
    lab.stack.kill("kafka-3")
    time.sleep(1)
    lab.stack.start("kafka-3")
    moving.execution.change_rate(QUICK)
    result = moving.result()
    assert result.proved, result.evidence()
    assert lab.leaders(topic) == {0: 3}
    assert lab.throttles(topic) == {}


def test_throttles_in_a_brokers_own_file_are_what_they_were_afterwards(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, written = lab.topic([[1, 2, 3]], SIZE), kafka.configuration

    def restart() -> None:
        lab.stack.kill("kafka-4")
        lab.stack.start("kafka-4")
        until(lambda: lab.alive() == [1, 2, 3, 4])

    with monkeypatch.context() as patch:
        rates = {LEADER_RATE: "70000000", FOLLOWER_RATE: "60000000"}
        more = "".join(f"{name}={rate}\n" for name, rate in rates.items())
        patch.setattr(kafka, "configuration", lambda *given: written(*given) + more)
        restart()
    try:
        before = lab.throttles(topic)
        assert before == {"4": rates}
        moving = Moving(lab, [Move(topic, 0, (1, 2, 3), (4, 2, 3), SIZE)], SLOW)
        until(lambda: lab.throttles(topic).get("4") == dict.fromkeys(rates, str(SLOW)))
        moving.execution.change_rate(QUICK)
        assert moving.result().proved
        assert lab.throttles(topic) == before
    finally:
        restart()
