"""What becomes of questions that nobody answers, that take long, or that meet what was not foreseen."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrive.aliases.alias import Alias
from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError, UnknownTopicError
from redrive.health import looking, stayed
from redrive.health.facts import ClusterState, Unknown
from redrive.health.judging import judge
from redrive.health.looking import look, read_state
from redrive.health.within import Asked
from redrive.partitions.state import BrokerState, PartitionState


def settings(folder: Path, *ports: int) -> Config:
    clusters = "".join(f'[clusters.c{number}]\nbootstrap = "127.0.0.1:{port}"\n' for number, port in enumerate(ports))
    (folder / "redrive.toml").write_text(
        f'[registry]\nurl = "http://127.0.0.1:1"\n{clusters}[domains.a]\ncluster = "c0"\n'
        '[topics.orders]\ndomain = "a"\n[standby]\nendpoint = "http://127.0.0.1:1"\n'
    )
    return Config.load(folder / "redrive.toml")


def fail(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UnavailableError("Kafka", "no answer"), "no-answer"),
        (ConfigError("clusters.c0", "no password"), "not-asked"),
        (ValueError("zip() argument 2 is longer than argument 1"), "fault"),
    ],
)
def test_whatever_becomes_of_a_question_is_an_answer(error: Exception, why: str) -> None:
    answer: Any = Asked(lambda: fail(error)).answer(5)
    assert (type(answer), answer.why) == (Unknown, why)


def test_that_our_own_time_is_up_does_not_say_that_somebody_is_away() -> None:
    answer: Any = Asked(lambda: time.sleep(2)).answer(0.05)
    assert answer.why == "slow"


def test_a_fault_of_ours_hides_one_part_of_one_cluster_and_leaves_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_stayed(config: Config, cluster: str, patience: float) -> Any:
        return msgspec.json.decode(b'{"name": 1}', type=Alias) if cluster == "c0" else stayed.Left((), {})

    monkeypatch.setattr(looking, "read_stayed", read_stayed)
    with caplog.at_level(logging.ERROR):
        odd, other = look(settings(tmp_path, 1, 1), ["c0", "c1"], limit=1.0)
    assert isinstance(odd.stayed, Unknown)
    assert "Traceback" in odd.stayed.traceback
    assert other.stayed == ()
    (reason,) = (reason for reason in judge(odd).reasons if reason.code.startswith("fault"))
    assert "ValidationError" in reason.what
    assert "log of the run" in reason.way_out
    assert "Traceback" in caplog.text


def test_partitions_that_are_added_while_a_topic_is_looked_through_are_left_to_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Nobody:
        def assign(self, partitions: Any) -> None:
            assert partitions == []

        def close(self) -> None:
            pass

    monkeypatch.setattr(stayed, "partition_count", lambda *_, **__: 1)
    monkeypatch.setattr(stayed, "start_offsets", lambda *_: [0])
    monkeypatch.setattr(stayed, "end_offsets", lambda *_, **__: [4, 0])
    monkeypatch.setattr(stayed, "reader", lambda _: Nobody())
    alias = Alias("orders", "orders.v2", "orders.v2", 1, schema_id=1, schema="{}", places={0: (4, 0)})
    found = stayed._read({}, "east", alias, {}, time.monotonic() + 1)
    assert found.read_to == {0: 4}


def test_a_topic_that_is_gone_is_told_by_one_question_that_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each other question would wait two seconds for it to appear, and there may be many."""

    def gone(_: Any, topic: str, settle: float) -> int:
        assert settle == 0
        raise UnknownTopicError(topic, "nobody")

    def asked(*_: Any, **__: Any) -> list[int]:
        raise AssertionError("asked further")

    monkeypatch.setattr(stayed, "partition_count", gone)
    monkeypatch.setattr(stayed, "start_offsets", asked)
    alias = Alias("orders", "orders.v2", "orders.v2", 1, schema_id=1, schema="{}", places={0: (4, 0)})
    with pytest.raises(UnknownTopicError):
        stayed._read({}, "east", alias, {}, time.monotonic() + 1)


def test_a_cluster_that_takes_calls_and_is_silent_is_known_to_be_away_within_half_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looking.PATIENCE <= looking.LIMIT / 2
    monkeypatch.setattr(looking, "PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (facts,) = look(settings(tmp_path, silent.getsockname()[1]), ["c0"], limit=3.0)
    assert isinstance(facts.state, Unknown)
    assert facts.state.why == "no-answer"
    assert judge(facts).verdict == "unavailable"


class Slow:
    """A cluster that answers each question after a while, with ``orders/0`` led by ``leader``."""

    leader: int | None = 1
    seconds = 0.1

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _after_a_while(self, answer: Any) -> Any:
        time.sleep(self.seconds)
        return answer

    def brokers(self) -> Any:
        return self._after_a_while({1: BrokerState(1, None, up=True), 2: BrokerState(2, None, up=True)})

    def partitions(self) -> Any:
        partition = PartitionState("orders", 0, (1, 2), self.leader, frozenset({1}))
        return self._after_a_while({partition.key: partition})

    def settings(self, *_: object) -> Any:
        return self._after_a_while({})

    def ongoing(self) -> Any:
        return self._after_a_while({})

    def controller(self) -> Any:
        return self._after_a_while(1)


class HalfAnswering(Slow):
    seconds = 0.0

    def ongoing(self) -> Any:
        raise UnavailableError("cluster c0", "listing reassignments: RequestTimedOutError")


@pytest.mark.parametrize("leader", [1, None])
@pytest.mark.parametrize("reader", [Slow, HalfAnswering])
def test_a_slow_cluster_is_unavailable_only_if_topics_lack_leaders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: type[Slow], leader: int | None
) -> None:
    monkeypatch.setattr(looking, "PartitionReader", reader)
    monkeypatch.setattr(looking, "ENOUGH", 0.15)
    monkeypatch.setattr(reader, "leader", leader)
    config = settings(tmp_path, 1)
    state = read_state(config.cluster("c0"))
    assert isinstance(state, ClusterState)
    assert state.unsaid
    assert state.under_replicated == (), "that is not known, with moves unknown"
    (facts,) = look(config, ["c0"], limit=1.5)
    health = judge(facts)
    assert health.verdict == ("unwell" if leader else "unavailable")
    assert health.is_certain is (leader is None)
    assert "slow" in [reason.code for reason in health.reasons]


def test_one_that_answers_all_in_time_is_not_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "PartitionReader", Slow)
    state = read_state(settings(tmp_path, 1).cluster("c0"))
    assert (state.unsaid, state.controller, state.under_replicated) == ("", 1, (("orders", 0),))
