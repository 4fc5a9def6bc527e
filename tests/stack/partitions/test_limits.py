"""Limits that pause moves, and the throttle that follows them, on a live cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from redrive.partitions.layout import Move
from redrive.partitions.probe import PARTITIONS, PROBE_TOPIC, Latencies, Probe, ensure_probe
from redrive.partitions.progress import Step
from redrive.partitions.strain import GroupLag, ProduceLatency, Strain, over_limit
from redrive.partitions.throttle_settings import FOLLOWER_RATE
from redrive.pump.lag import ConsumerLag
from tests.stack.partitions.lab import InBackground, Lab, until

MB = 1_000_000
SIZE = 4 * MB


class Group:
    """A consumer group that is as far behind as the test has it."""

    def __init__(self, lab: Lab, topic: str, limit: int) -> None:
        self._lab, self._topic, self._name = lab, topic, f"group-of-{topic}"
        lag = ConsumerLag({"bootstrap.servers": lab.bootstrap}, self._name, None, limit)
        self.gauge = GroupLag(lag, self._name, limit)
        self.at(0)

    def at(self, offset: int) -> None:
        """Commit that it has come so far; the first group of a cluster has to wait for its coordinator."""
        until(lambda: self._commit(offset))

    def _commit(self, offset: int) -> bool:
        asked = [ConsumerGroupTopicPartitions(self._name, [TopicPartition(self._topic, 0, offset)])]
        done = self._lab.kafka.alter_consumer_group_offsets(asked)[self._name].result()
        return all(place.error is None for place in done.topic_partitions)


@pytest.fixture
def probe(lab: Lab) -> Iterator[Probe]:
    ensure_probe({"bootstrap.servers": lab.bootstrap})
    with Probe({"bootstrap.servers": lab.bootstrap}, PARTITIONS) as probe:
        yield probe


class Latency:
    """What a probe measures on this cluster, by a limit that the test changes: none is 1 µs, each is a minute."""

    def __init__(self, probe: Probe) -> None:
        self._probe, self.limit = probe, 0.000_001

    def read(self) -> Strain:
        return ProduceLatency(self._probe, self.limit).read()


def test_moves_begin_only_while_publishing_is_quick_enough_and_go_on_by_themselves(lab: Lab, probe: Probe) -> None:
    topic, gauge = lab.topic([[1, 2], [1, 2]], MB), Latency(probe)
    until(lambda: bool(over_limit([gauge])), 120)
    execution = lab.execution(gauges=[gauge], per_broker=1)
    running = InBackground(lambda: execution.run([Move(topic, number, (1, 2), (4, 2), MB) for number in range(2)]))

    def waits() -> bool:
        told = lab.reports[-1].waiting_for if lab.reports else ""
        return told.startswith("produce latency is") and told.endswith("(limit 0 ms)")

    until(lambda: running.goes_on() and waits(), 120)
    seen = len(lab.reports)
    until(lambda: running.goes_on() and len(lab.reports) > seen + 5, 120)
    assert all(report.steps == {Step.PENDING: 2} for report in lab.reports)
    assert lab.replicas(topic) == {0: (1, 2), 1: (1, 2)}
    gauge.limit = 60.0
    assert running.result().proved
    assert lab.replicas(topic) == {0: (4, 2), 1: (4, 2)}


def test_moves_begin_only_while_a_watched_group_keeps_up_and_go_on_by_themselves(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], SIZE)  # 80 events
    group = Group(lab, topic, limit=50)
    execution = lab.execution(gauges=[group.gauge])
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), SIZE)]))
    behind = f"consumer group group-of-{topic} is 80 events behind (limit 50)"
    until(lambda: running.goes_on() and any(report.waiting_for == behind for report in lab.reports))
    assert lab.replicas(topic) == {0: (1, 2)}
    group.at(40)
    assert running.result().proved
    assert lab.replicas(topic) == {0: (4, 2)}


def test_a_group_that_never_catches_up_ends_the_run_when_its_patience_does(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], SIZE)
    gauge = Group(lab, topic, limit=50).gauge
    result = lab.execution(gauges=[gauge], patience=2.0).run([Move(topic, 0, (1, 2), (4, 2), SIZE)])
    behind = f"consumer group group-of-{topic} is 80 events behind (limit 50)"
    assert result.stopped == f"nothing has moved for 2 s: {behind}"
    assert result.outcomes[topic, 0].step is Step.PENDING
    assert lab.throttles(topic) == {}


def test_the_throttle_comes_down_while_a_limit_is_exceeded_and_goes_up_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrive.partitions.following.EVERY", 0.5)
    topic, start = lab.topic([[1, 2]], 3 * SIZE), 1 * MB
    group = Group(lab, topic, limit=100)
    group.at(240)
    execution = lab.execution(start, gauges=[group.gauge], follow=True)
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), 3 * SIZE)]))

    def rate() -> int:
        return int(lab.throttles(topic).get("4", {}).get(FOLLOWER_RATE, 0))

    until(lambda: rate() == start)
    group.at(0)
    until(lambda: 0 < rate() < start / 2)
    group.at(240)
    result = running.result()
    assert result.proved, result.evidence()
    assert execution.following is not None
    assert execution.following.rates is not None
    assert execution.following.rates[0] < start / 2
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []


def test_a_fixed_throttle_comes_down_in_mid_wave_while_a_limit_is_exceeded_and_is_put_back_to_what_it_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrive.partitions.following.EVERY", 0.5)
    topic, asked = lab.topic([[1, 2]], 4 * SIZE), 1 * MB
    group = Group(lab, topic, limit=100)
    group.at(320)
    execution = lab.execution(asked, gauges=[group.gauge])
    running = InBackground(lambda: execution.run([Move(topic, 0, (1, 2), (4, 2), 4 * SIZE)]))

    def rate() -> int:
        return int(lab.throttles(topic).get("4", {}).get(FOLLOWER_RATE, 0))

    until(lambda: rate() == asked)
    group.at(0)
    until(lambda: 0 < rate() < asked / 2)
    behind = f"consumer group group-of-{topic} is 320 events behind (limit 100)"
    until(lambda: lab.reports[-1].slowed_by == behind)
    assert lab.moves(topic)
    assert lab.reports[-1].waiting_for == ""  # nothing more was to begin, and what is under way goes on
    group.at(320)
    until(lambda: rate() == asked)
    until(lambda: lab.reports[-1].slowed_by == "")
    assert lab.moves(topic)
    execution.change_rate(100 * MB)
    assert running.result().proved
    assert lab.throttles(topic) == {}
    assert lab.ledger.debts.owed() == []


def test_a_throttle_that_follows_begins_where_moves_get_to_their_end_and_stays_there(lab: Lab) -> None:
    topic = lab.topic([[1, 2]], MB)
    execution = lab.execution(1_000, follow=True)
    with lab.load(topic, 200_000):
        result = execution.run([Move(topic, 0, (1, 2), (4, 2), MB)])
    assert result.proved, result.evidence()
    assert execution.following is not None
    assert execution.following.rates is not None
    assert execution.following.rates[0] > 200_000  # what is written goes to two followers, and both count


def test_the_probe_tells_how_long_producers_wait_and_which_broker_stalls(lab: Lab, probe: Probe) -> None:
    time.sleep(1.5)
    probe.phase = well = Latencies()
    time.sleep(3)
    assert well.events > 100
    assert (well.p99() or 0) > 0
    gauge = ProduceLatency(probe, limit=1.5)
    until(lambda: not over_limit([gauge]), 40)
    leader = lab.leaders(PROBE_TOPIC)[0]
    lab.stack.pause(f"kafka-{leader}")
    try:
        until(lambda: gauge.read().load > 1, 20)
        words = gauge.read().words
    finally:
        lab.stack.resume(f"kafka-{leader}")
    assert "at the 99th percentile, slowest at broker" in words
    assert "(limit 1,500 ms)" in words
    until(lambda: not over_limit([gauge]), 40)
