"""What is written into Kafka's throttle settings, at which rate moves ever arrive, and how debts are settled."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrive.config import Cluster, ClusterConfig, Secret
from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.partitions.connection import Connection, client_config
from redrive.partitions.convergence import least_rate, needed, require_convergence
from redrive.partitions.inflow import rates
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Outcome, Result
from redrive.partitions.progress import Step
from redrive.partitions.settling import AS_BEFORE, RESTORED, how_to_settle
from redrive.partitions.throttle_settings import (
    FOLLOWER_REPLICAS,
    LEADER_RATE,
    LEADER_REPLICAS,
    brokers_to_throttle,
    replicas_to_throttle,
    with_entries,
)

MOVE = Move("t", 5, (1, 2, 3), (1, 2, 4), 1_000)
REORDER = Move("u", 0, (1, 2, 3), (3, 2, 1), 1_000)


def test_replicas_of_before_send_and_added_ones_receive() -> None:
    assert replicas_to_throttle([MOVE, REORDER]) == {
        "t": {LEADER_REPLICAS: {(5, 1), (5, 2), (5, 3)}, FOLLOWER_REPLICAS: {(5, 4)}}
    }
    assert brokers_to_throttle([MOVE, REORDER]) == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "5:4,10:1"),
        ("", "5:4,10:1"),
        ("none", "5:4,10:1"),
        ("*", "*"),
        ("0:1", "0:1,5:4,10:1"),
        ("5:4, 0:1", "5:4,0:1,10:1"),
    ],
)
def test_entries_are_added_to_what_a_list_has(before: str | None, after: str) -> None:
    assert with_entries(before, {(10, 1), (5, 4)}) == after


ENTRIES = st.sets(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=6)


@given(ENTRIES, ENTRIES)
def test_nothing_of_a_list_is_lost_and_adding_twice_changes_nothing(
    before: set[tuple[int, int]], more: set[tuple[int, int]]
) -> None:
    value = with_entries(None, before)
    once = with_entries(value, more)
    assert {*filter(None, once.split(","))} == {f"{number}:{broker}" for number, broker in before | more}
    assert with_entries(once, more) == once


def test_a_new_replica_needs_what_is_produced_and_a_leader_that_for_each_follower() -> None:
    assert needed([MOVE, REORDER], {("t", 5): 100.0, ("u", 0): 9.0}, {("t", 5): 2}, 5) == {4: 100.0, 2: 300.0}


def test_only_as_many_moves_count_as_are_under_way_at_a_time() -> None:
    moves = [Move("t", number, (1,), (2,)) for number in range(4)]
    inflow = {("t", number): 10.0 * number for number in range(4)}
    assert needed(moves, inflow, {}, 2) == {1: 50.0, 2: 50.0}


def test_a_rate_that_can_t_converge_is_refused_with_the_least_that_would() -> None:
    needs = {1: 50.0, 2: 1_000.0}
    with pytest.raises(ThrottleTooLowError) as caught:
        require_convergence(1_000, needs)
    assert (caught.value.broker, caught.value.needed, caught.value.least) == (2, 1_000.0, 1_101)
    require_convergence(least_rate(needs), needs)


def test_the_least_is_told_in_the_unit_of_the_form_and_what_is_told_will_do() -> None:
    needs = {1: 50.0, 2: 11_111_111.0}
    with pytest.raises(ThrottleTooLowError) as caught:
        require_convergence(10_000_000, needs)
    said = "10.00 MB/s can't converge: new events of the partitions that move take 11.11 MB/s of it on broker 2; give"
    assert f"{said} at least 12.23 MB/s" in str(caught.value)
    require_convergence(12_230_000, needs)
    with pytest.raises(ThrottleTooLowError):
        require_convergence(12_220_000, needs)


def test_without_inflow_any_rate_will_do() -> None:
    require_convergence(1, {})
    require_convergence(1, {1: 0.0})


def test_a_log_that_became_smaller_says_nothing_of_what_is_written() -> None:
    before, after = {("a", 0): 100, ("b", 0): 100, ("c", 0): 0}, {("a", 0): 300, ("b", 0): 50}
    assert rates(before, after, 2) == {("a", 0): 100.0}


@pytest.mark.parametrize(
    ("previous", "ours", "now", "how"),
    [
        (None, ["5"], "5", RESTORED),
        ("7", ["5", "6"], "5", RESTORED),
        ("7", ["5", "6"], "6", RESTORED),
        (None, ["5"], None, AS_BEFORE),
        ("7", ["5"], "7", AS_BEFORE),
        ("5", ["5"], "5", AS_BEFORE),
        (None, ["5"], "9", "left as somebody else has set it: 9"),
        ("7", ["5"], None, "left as somebody else has set it: nothing"),
    ],
)
def test_only_our_own_value_is_undone(previous: str | None, ours: list[str], now: str | None, how: str) -> None:
    value = previous if how in (RESTORED, AS_BEFORE) else now
    assert how_to_settle(LEADER_RATE, previous, ours, now) == (value, how)


@pytest.mark.parametrize(
    ("previous", "ours", "now", "value"),
    [
        (None, ["0:1,0:2"], "0:2,0:1", None),  # in another order
        ("5:5", ["5:5,0:1", "5:5,1:1"], "1:1,0:1,5:5", "5:5"),  # what is left of two waves
        (None, ["0:1"], "0:1,9:9", "9:9"),  # somebody has added one
        ("5:5", ["5:5,0:1"], "0:1", None),  # somebody has taken the other one away
        ("5:5,0:1", ["5:5,0:1,0:2"], "5:5,0:1,0:2", "5:5,0:1"),  # one of ours was there before
        (None, ["0:1"], "*", "*"),
    ],
)
def test_of_a_list_only_our_own_entries_are_taken_away(
    previous: str | None, ours: list[str], now: str, value: str | None
) -> None:
    assert how_to_settle(FOLLOWER_REPLICAS, previous, ours, now)[0] == value


def test_a_result_is_proved_only_if_nothing_is_left() -> None:
    done = {("t", 0): Outcome(Step.DONE)}
    assert Result(done).proved
    assert not Result(done | {("t", 1): Outcome(Step.GONE)}).proved
    assert not Result(done, owed=("x",)).proved
    assert not Result(done, not_in_sync=(("t", 0),)).proved
    assert not Result(done, stopped="asked to stop").proved


def test_what_somebody_else_has_done_meanwhile_leaves_the_rest_complete() -> None:
    others = {("t", number): Outcome(step) for number, step in enumerate((Step.GONE, Step.CHANGED, Step.TAKEN))}
    assert Result(others).complete
    assert not Result(others).proved
    assert not Result(others | {("t", 9): Outcome(Step.REFUSED, "x")}).complete
    assert not Result(others | {("t", 9): Outcome(Step.PENDING)}).complete
    assert not Result(others, stopped="asked to stop").complete


def test_what_has_moved_is_complete_whatever_else_is_to_be_said_of_it() -> None:
    done = {("t", 0): Outcome(Step.DONE)}
    for more in ({"owed": ("x",)}, {"not_in_sync": (("t", 0),)}, {"led_elsewhere": (("t", 0),)}):
        assert Result(done, **more).complete
        assert not Result(done, **more).proved
    assert Result(done, owed_before=("broker 4 does not answer",)).proved


def test_a_cluster_that_does_not_answer_is_said_and_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrive.partitions.connection.REQUEST_TIMEOUT", 0.2)
    connection = Connection(Cluster("east", ClusterConfig(bootstrap="127.0.0.1:1"), tmp_path))
    before = set(threading.enumerate())
    with pytest.raises(UnavailableError, match=r"cluster east \(127.0.0.1:1\) is unavailable: asking: "):
        connection.ask("asking", lambda admin: admin.describe_cluster(), patience=0.5)
    begun = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in begun if "_probe" not in name]  # those are of producers that other tests have left


def test_a_cluster_s_tls_and_login_go_with_its_connection(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    config = ClusterConfig(
        bootstrap="a:9093, b:9093",
        security_protocol="SASL_SSL",
        username="anna",
        password=Secret(file=Path("password")),
        ca_file=Path("ca.pem"),
        certificate_file=Path("me.pem"),
        key_file=Path("me.key"),
        key_password=Secret(file=Path("password")),
    )
    assert client_config(Cluster("east", config, tmp_path)) == {
        "bootstrap_servers": ["a:9093", "b:9093"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "anna",
        "sasl_plain_password": "hunter2",
        "ssl_cafile": str(tmp_path / "ca.pem"),
        "ssl_certfile": str(tmp_path / "me.pem"),
        "ssl_keyfile": str(tmp_path / "me.key"),
        "ssl_password": "hunter2",
    }
