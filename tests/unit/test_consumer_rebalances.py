"""Partitions go and come back at every awkward moment: no event is lost, and none handled that others own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.consuming import opening
from redrive.errors import ConfigError, RefusedByClusterError, UnavailableError, UnknownTopicError
from redrive.received import ReceivedEvent
from tests.unit.scripted_kafka import ORDERS, OTHERS, Client, Kafka, Record, records

QUICK = ConsumerSettings(pause=0.01, longest_pause=0.02)


@pytest.fixture
def kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kafka:
    return Kafka(tmp_path, monkeypatch)


class Group:
    """A consumer of orders, and what it has handled; what it is to fail on, it fails on."""

    def __init__(self, kafka: Kafka, *topics: str, settings: ConsumerSettings = QUICK) -> None:
        self.consumer = EventConsumer("billing", kafka.config, topics or ["orders"], settings=settings)
        self.client: Client = kafka.clients["one"]
        self.handled: list[str] = []
        self.fail: Callable[[ReceivedEvent], None] = lambda event: None

    def run(self, idle: float = 0.2, *, until: int | None = None) -> None:
        """Handle what comes; with ``until``, so many events, however long that takes."""

        def handle(event: ReceivedEvent) -> None:
            self.fail(event)
            self.handled.append(f"{event.partition}/{event.offset}")
            if len(self.handled) == until:
                self.consumer.stop()

        self.consumer.run(handle, idle=idle if until is None else 120)


def pass_by() -> None:
    pass


def test_a_batch_has_the_events_of_a_partition_that_went_and_came_back_while_it_was_gathered(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)))
    group.client.script = [*[pass_by] * 4, group.client.take_away_and_give_back]
    batches = [[event.offset for event in batch] for batch in group.consumer.batches(max_wait=0.3, idle=0.3)]
    assert batches == [[0, 1, 2]]
    assert group.consumer.counts["duplicates"] == 0
    assert group.client.group == {ORDERS: 3}


def test_a_batch_has_no_events_of_a_partition_that_went_away_while_it_was_gathered(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)), *records(OTHERS, range(3, 6)))
    group.client.script = [*[pass_by] * 7, lambda: group.client.take_away(ORDERS)]
    batches = [[event.partition for event in batch] for batch in group.consumer.batches(max_wait=0.3, idle=0.3)]
    assert batches == [[1, 1, 1]]
    assert group.client.group == {OTHERS: 6}


@pytest.mark.parametrize("fetched_before", [1, 2, 3])
def test_what_was_fetched_before_its_partition_went_away_in_the_same_breath_is_for_the_next_owner(
    kafka: Kafka, fetched_before: int
) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)), *records(OTHERS, range(3, 6)))

    def take_away() -> None:
        group.client.take_away(ORDERS)
        group.client.group[ORDERS] = 7  # the next owner has come so far

    group.client.script = [*[pass_by] * fetched_before, take_away]
    group.run()
    assert group.handled == ["1/3", "1/4", "1/5"]
    assert group.client.group == {ORDERS: 7, OTHERS: 6}


@pytest.mark.parametrize("fetched_before", [1, 2, 3])
def test_a_partition_that_went_and_came_back_in_the_same_breath_is_read_again(
    kafka: Kafka, fetched_before: int
) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(4)))
    group.client.script = [*[pass_by] * fetched_before, group.client.take_away_and_give_back]
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2", "0/3"]
    assert group.client.group == {ORDERS: 4}


def rebalance_behind_one_more(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition goes and comes back within one call, out of which only a message of before comes."""
    consume, rebalances = client.consume, [client.take_away_and_give_back]

    def consume_and_rebalance(limit: int, wait: float) -> list[Record]:
        if not rebalances:
            return consume(limit, wait)
        found = consume(1, wait)
        rebalances.pop()()
        return found

    monkeypatch.setattr(client, "consume", consume_and_rebalance)


@pytest.mark.parametrize("how", ["run", "batches"])
@pytest.mark.parametrize("committed", [0, 2])
@pytest.mark.parametrize("is_told", [True, False])
def test_of_such_a_partition_nothing_is_left_out_though_only_messages_of_before_come_out_of_that_call(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, how: str, committed: int, is_told: bool
) -> None:
    """Whether or not the cluster can say just then where the group is."""
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(6)))
    if committed:
        group.client.group[ORDERS] = committed
        group.client.give(ORDERS)
    if not is_told:
        answer, asked = group.client.committed, list[float]()

        def unavailable_at_first(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
            asked.append(timeout)
            if len(asked) == 1:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            return answer(partitions, timeout)

        monkeypatch.setattr(group.client, "committed", unavailable_at_first)
    rebalance_behind_one_more(group.client, monkeypatch)
    if how == "run":
        group.run(until=6 - committed)
    else:
        for batch in group.consumer.batches(idle=120):
            group.handled += [f"{event.partition}/{event.offset}" for event in batch]
            if len(group.handled) >= 6 - committed:
                group.consumer.stop()
    assert group.handled == [f"0/{number}" for number in range(committed, 6)]
    assert group.client.group == {ORDERS: 6}


def test_a_group_that_wants_new_events_only_does_not_get_the_old_ones_by_that(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group(kafka, settings=ConsumerSettings(client={"auto.offset.reset": "latest"}))
    group.client.send(*records(ORDERS, range(3)))
    group.client.give(ORDERS)
    group.client.send(*records(ORDERS, range(3, 6)))
    rebalance_behind_one_more(group.client, monkeypatch)
    group.run(until=3)
    assert group.handled == ["0/3", "0/4", "0/5"]


def test_who_goes_on_after_an_interrupted_batch_gets_what_was_gathered_and_what_was_fetched_with_it(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(4)))
    seen, received = [], opening.received

    def interrupted(*given: Any) -> ReceivedEvent:
        seen.append(given)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return received(*given)

    monkeypatch.setattr(opening, "received", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(group.consumer.batches())
    group.consumer.commit()
    assert group.client.group == {}, "nobody has seen it"
    group.client.send(*records(ORDERS, range(4, 6)))
    again = [event.offset for batch in group.consumer.batches(idle=0.2) for event in batch]
    assert again == list(range(6))
    assert group.client.group == {ORDERS: 6}


def test_a_batch_that_was_half_gathered_when_a_topic_was_refused_is_not_committed(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)))
    unknown = Record(OTHERS, 0, problem=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    group.client.script = [*[pass_by] * 4, lambda: group.client.send(unknown)]
    with pytest.raises(UnknownTopicError):
        next(group.consumer.batches(max_wait=0.3))
    group.consumer.commit()
    assert group.client.group == {}


def test_what_a_slow_handler_has_handled_is_committed_before_all_is_that_was_fetched_with_it(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(20)))
    committed: list[int] = []

    def slow(_: ReceivedEvent) -> None:
        time.sleep(0.1)
        committed.append(group.client.group.get(ORDERS, 0))

    group.fail = slow
    group.run()
    assert committed[-1] > 10


def test_a_login_that_has_failed_once_is_told_once(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(1)))
    group.run()
    group.client.config["error_cb"](KafkaError(KafkaError._AUTHENTICATION))
    with pytest.raises(RefusedByClusterError):
        group.run()
    group.run()


@pytest.mark.parametrize(
    ("topics", "successors", "told"),
    [
        (["orders", "orders.v2"], {"orders": "orders.v2"}, "orders.v2 is among the topics that are read"),
        (["orders", "orders.v1"], {"orders": "orders.v2", "orders.v1": "orders.v2"}, "orders.v2 is named twice"),
    ],
)
def test_a_topic_is_subscribed_once(kafka: Kafka, topics: list[str], successors: dict[str, str], told: str) -> None:
    if "orders.v1" in topics:
        kafka.add('[topics."orders.v1"]\ndomain = "sales"\n')
    with pytest.raises(ConfigError, match=told):
        EventConsumer("billing", kafka.config, topics, successors=successors)


def test_an_event_put_back_comes_again_though_its_partition_has_gone_and_come_back(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(4)))
    troubles = iter([group.client.take_away_and_give_back] * 3)

    def fail(event: ReceivedEvent) -> None:
        if event.offset == 2 and (trouble := next(troubles, None)) is not None:
            group.client.script = [trouble]
            raise UnavailableError("the warehouse", "closed")

    group.fail = fail
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2", "0/3"]
    assert group.client.group == {ORDERS: 4}


def test_who_runs_on_after_an_interrupted_handler_gets_what_was_fetched_with_its_event(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(4)), *records(OTHERS, range(2)))
    interrupts = iter([KeyboardInterrupt()])

    def fail(event: ReceivedEvent) -> None:
        if event.offset == 1 and (interrupt := next(interrupts, None)) is not None:
            raise interrupt

    group.fail = fail
    with pytest.raises(KeyboardInterrupt):
        group.run()
    group.run()
    assert sorted(group.handled) == ["0/0", "0/1", "0/2", "0/3", "1/0", "1/1"]


def test_who_runs_on_after_a_loop_over_batches_gets_the_batch_that_was_in_hand(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(4)))
    assert len(next(group.consumer.batches(max_events=2))) == 2
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2", "0/3"]


def test_a_rebalance_that_is_interrupted_has_taken_the_partition_away_all_the_same(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)))
    next(group.consumer.batches(max_wait=0.1))

    def interrupted(place: TopicPartition) -> None:
        raise KeyboardInterrupt

    group.client.answer = interrupted
    with pytest.raises(KeyboardInterrupt):
        group.consumer.commit()
    with pytest.raises(KeyboardInterrupt):
        group.client.take_away(ORDERS)
    del group.client._at[ORDERS]  # as librdkafka does, whatever comes of the callback
    group.client.group[ORDERS] = 7  # the next owner has come so far
    group.client.answer = lambda _: None
    group.run()
    assert group.client.group == {ORDERS: 7}


def test_who_runs_on_after_a_refusal_gets_what_was_fetched_with_it(kafka: Kafka) -> None:
    group = Group(kafka)
    gone = Record(OTHERS, 0, problem=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    group.client.send(*records(ORDERS, range(3)), gone)
    with pytest.raises(UnknownTopicError):
        group.run()
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2"]


def test_what_was_fetched_of_one_cluster_is_not_lost_with_a_refusal_of_another(kafka: Kafka) -> None:
    group = Group(kafka, "orders", "refunds")
    group.client.send(*records(ORDERS, range(3)))
    kafka.clients["two"].send(Record(("refunds", 0), 0, problem=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
    with pytest.raises(UnknownTopicError):
        group.run()
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2"]


def test_a_client_that_has_failed_for_good_is_not_waited_for(kafka: Kafka) -> None:
    group = Group(kafka)
    fenced = KafkaError(KafkaError._FATAL, "this static member was replaced", True)
    group.client.send(Record(ORDERS, 0, problem=fenced))
    with pytest.raises(RefusedByClusterError, match="this static member was replaced"):
        group.run()


def test_a_topic_made_anew_is_read_from_its_beginning_while_an_event_of_the_old_one_is_put_back(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(100, 102)))

    def fail(event: ReceivedEvent) -> None:
        if event.offset == 101:
            group.client.make_anew(ORDERS, *records(ORDERS, range(3)))
            raise UnavailableError("the warehouse", "closed")

    group.fail = fail
    group.run()
    assert group.handled == ["0/100", "0/0", "0/1", "0/2"]
    assert group.client.group == {ORDERS: 3}


def test_events_without_an_id_are_no_duplicates_of_those_in_the_same_place_of_the_topic_before(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*(Record(ORDERS, number, time=1) for number in range(3)))
    group.run()
    group.client.make_anew(ORDERS, *(Record(ORDERS, number, time=2) for number in range(2)))
    group.run()
    assert group.handled == ["0/0", "0/1", "0/2", "0/0", "0/1"]


def test_without_a_window_a_batch_has_every_event(kafka: Kafka) -> None:
    group = Group(kafka, settings=ConsumerSettings(window=0))
    group.client.send(*(Record(ORDERS, number, headers_=[("ce_id", b"same")]) for number in range(3)))
    assert [len(batch) for batch in group.consumer.batches(idle=0.1)] == [3]


def test_a_commit_that_met_a_rebalance_is_made_again_for_partitions_that_stay(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)))
    answers = iter([KafkaError(KafkaError.ILLEGAL_GENERATION)])
    group.client.answer = lambda _: next(answers, None)
    group.run(idle=1)
    assert group.client.group == {ORDERS: 3}


def test_a_commit_that_is_refused_for_one_of_two_partitions_is_told(kafka: Kafka) -> None:
    group = Group(kafka)
    group.client.send(*records(ORDERS, range(3)), *records(OTHERS, range(3, 5)))
    refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    group.client.answer = lambda place: refusal if place.partition == 1 else None
    with pytest.raises(RefusedByClusterError):
        group.run()
    assert group.client.group == {ORDERS: 3}


@pytest.mark.parametrize(("refusing", "other"), [("one", "two"), ("two", "one")])
def test_one_cluster_s_refusal_keeps_no_other_s_events_from_being_committed(
    kafka: Kafka, refusing: str, other: str
) -> None:
    group = Group(kafka, "orders", "refunds")
    kafka.clients["one"].send(*records(ORDERS, range(3)))
    kafka.clients["two"].send(*records(("refunds", 0), range(3)))
    kafka.clients[refusing].answer = lambda _: KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    assert [len(next(group.consumer.batches(max_wait=0.2)))] == [6]
    with pytest.raises(RefusedByClusterError):
        group.consumer.commit()
    assert kafka.clients[refusing].group == {}
    assert list(kafka.clients[other].group.values()) == [3]


def test_dead_letters_that_nobody_takes_keep_no_rebalance_of_another_cluster_waiting(kafka: Kafka) -> None:
    """Nor are they the end: the other clusters' events go on, and nothing behind them is committed."""
    group = Group(kafka, "orders", "refunds", settings=ConsumerSettings(max_poll_interval=2))
    two = kafka.clients["two"]
    group.client.send(Record(ORDERS, 0, data=b"junk"))
    two.send(Record(("refunds", 0), 0, data=b"junk"))
    group.run()
    began = time.monotonic()
    two.take_away_and_give_back(("refunds", 0))
    assert time.monotonic() - began < 1
    time.sleep(1.2)  # longer than letters are waited for
    two.take_away_and_give_back(("refunds", 0))
    two.send(*records(("refunds", 0), range(1, 3)))
    group.run()
    assert group.handled == ["0/1", "0/2"]
    assert (group.client.group, two.group) == ({}, {})
