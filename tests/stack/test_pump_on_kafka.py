"""The pump on a real cluster: exactly once, refusals and parking, stop and pace, and what readers pay for it."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from redrive.errors import ConfigError, FencedError, RefusedError, StoppedError, UnavailableError, UnknownTopicError
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.cursors import read_cursor
from redrive.pump.governor import Governor
from redrive.pump.lag import ConsumerLag
from redrive.pump.proof import prove
from redrive.pump.sink import TransactionalSink
from tests.stack.pumping import OPERATION, Lab, assert_exactly_once_in_order


@pytest.fixture(scope="module")
def checkpoints() -> str:
    return f"pump.checkpoints.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def lab(stack: Any, checkpoints: str, request: pytest.FixtureRequest) -> Iterator[Lab]:
    lab = Lab.make(stack.endpoints.bootstrap, checkpoints, **getattr(request, "param", {}))
    yield lab
    for sink in lab.sinks:
        sink.close()


def test_each_event_arrives_once_unchanged_with_its_provenance(lab):
    events = lab.events(5000)
    sink = lab.sink()
    outcome = lab.pump(events, sink).run(sink.start())
    assert outcome.published == 5000
    assert_exactly_once_in_order(lab.read(), events)
    assert read_cursor(lab.client, lab.unit, lab.checkpoints) == outcome.cursor
    proof = prove(lab.client, {lab.unit: outcome.evidence}, operation=OPERATION)
    assert (proof.verdict, proof.findings, proof.counted) == ("proved", [], {lab.unit: 5000})


def test_keys_land_where_java_clients_would_put_them(lab):
    sink = lab.sink()
    events = lab.events(500)
    lab.pump(events, sink).run(sink.start())
    producer = Producer({**lab.client, "partitioner": "murmur2"})
    for event in events[:50]:
        producer.produce(lab.topic, b"java", event.key)
    producer.flush()
    for records in lab.read().values():
        assert {r.key for r in records if r.value == b"java"} == {r.key for r in records if r.value != b"java"}


def test_of_two_copies_at_once_only_the_later_one_publishes(lab):
    events = lab.events(2000)
    first, second = lab.sink(), lab.sink()
    pump = lab.pump(events, first)
    cursor = first.start()
    first.commit(events[:100], Checkpoint(operation=OPERATION, source=b"100").encode())
    resumed = second.start()
    assert resumed != cursor
    with pytest.raises(FencedError, match=lab.unit):
        pump.run(cursor)
    lab.pump(events, second).run(resumed)
    assert_exactly_once_in_order(lab.read(), events)


def test_a_transaction_that_timed_out_is_told_from_a_successor(lab, monkeypatch):
    """As when the brokers were away for long in mid-transaction: the unit may be started again, and nothing is lost."""
    sink = lab.sink(transaction_timeout=1.0)
    sink.start()
    sink.commit(lab.events(10), b"first")
    produce = sink._produce

    def sleepy(*args: Any) -> None:
        produce(*args)
        sink._transactions.producer.flush()
        time.sleep(13)  # brokers look for expired transactions every 10 s

    monkeypatch.setattr(sink, "_produce", sleepy)
    with pytest.raises(UnavailableError, match="stood still for more than 1 s"):
        sink.commit(lab.events(20)[10:], b"second")
    monkeypatch.undo()
    assert sink.start() == b"first"
    sink.commit(lab.events(20)[10:], b"second")
    assert_exactly_once_in_order(lab.read(), lab.events(20))


def test_events_that_the_topic_refuses_are_parked_and_the_rest_goes_on(lab):
    events = lab.events(1000)
    noise = random.Random(1).randbytes(1_500_000)
    events[300].value = events[301].value = noise
    events[500].partition = 99
    sink = lab.sink()
    outcome = lab.pump(events, sink).run(sink.start())
    assert (outcome.published, sum(outcome.parked.values()), outcome.balanced) == (997, 3, True)
    (parked,) = lab.read(lab.parking).values()
    assert [record.value for record in parked] == [noise, noise, events[500].value]
    assert (parked[0].headers["redrive-reason"] or b"").startswith(b"MSG_SIZE_TOO_LARGE")
    assert parked[0].headers["redrive-topic"] == lab.topic.encode()
    assert parked[0].headers["ce_id"] == b"300"
    assert_exactly_once_in_order(lab.read(), [e for i, e in enumerate(events) if i not in (300, 301, 500)])
    assert prove(lab.client, {lab.unit: outcome.evidence}, operation=OPERATION).verdict == "proved"


def test_what_only_the_broker_can_refuse_is_found_event_by_event(lab):
    """Too large by its headers: no look at the settings tells, so a broker's refusal is traced to the event."""
    events = lab.events(300)
    events[200].headers = [(f"h{i}", random.Random(i).randbytes(150)) for i in range(10_000)]
    sink = lab.sink()
    outcome = lab.pump(events, sink).run(sink.start())
    assert (outcome.published, list(outcome.parked)) == (299, ["MSG_SIZE_TOO_LARGE: Broker: Message size too large"])
    assert_exactly_once_in_order(lab.read(), events[:200] + events[201:])


@pytest.mark.parametrize("lab", [{"max.message.bytes": "30000"}], indirect=True)
def test_a_topic_with_small_batches_gets_small_batches(lab):
    events = lab.events(1000)
    for i, event in enumerate(events):
        event.value = random.Random(i).randbytes(200)
    sink = lab.sink()
    outcome = lab.pump(events, sink).run(sink.start())
    assert outcome.published == 1000
    assert_exactly_once_in_order(lab.read(), events)


def test_an_unknown_topic_is_named_and_nothing_is_created(lab):
    events = [Event("1", "no.such.topic", b"k", b"v", [], 1)]
    sink = lab.sink()
    sink.start()
    with pytest.raises(UnknownTopicError, match=r"no\.such\.topic"):
        sink.commit(events, b"cursor")
    assert "no.such.topic" not in AdminClient(lab.client).list_topics().topics


def test_tombstones_and_events_without_key_headers_or_bytes_pass(lab):
    events = [
        Event("a", lab.topic, b"k", None, [], 1000, origin=f"{lab.unit}/s/0/0"),
        Event("b", lab.topic, None, b"v", [("x", None), ("x", b"")], 2000, origin=f"{lab.unit}/s/0/1"),
        Event("c", lab.topic, b"", b"", [], 3000, partition=2, origin=f"{lab.unit}/s/0/2"),
        Event("d", lab.topic, b"\xff\xfe", b"v", [], 4000, origin=f"{lab.unit}/s/0/3"),
    ]
    sink = lab.sink()
    outcome = lab.pump(events, sink).run(sink.start())
    found = [(r.key, r.value, r.timestamp) for records in lab.read().values() for r in records]
    assert sorted(found, key=lambda r: r[2]) == [(e.key, e.value, e.timestamp) for e in events]
    assert prove(lab.client, {lab.unit: outcome.evidence}, operation=OPERATION).verdict == "proved"


def test_a_stop_in_mid_run_leaves_whole_transactions_and_a_clean_cursor(lab):
    events = lab.events(20_000)
    governor = Governor(rate=20_000)
    sink = lab.sink()
    pump = lab.pump(events, sink, governor=governor, chunk_seconds=0.1)

    def stop_later() -> None:
        while not pump.outcome.published:
            time.sleep(0.01)
        governor.stop()

    threading.Thread(target=stop_later).start()
    with pytest.raises(StoppedError):
        pump.run(sink.start())
    stopped_at = pump.outcome.published
    assert 0 < stopped_at < 20_000
    assert sum(map(len, lab.read().values())) == stopped_at
    sink.close()
    again = lab.sink()
    lab.pump(events, again).run(again.start())
    assert_exactly_once_in_order(lab.read(), events)


def test_an_interrupt_in_mid_chunk_aborts_the_transaction(lab):
    """Ctrl-C while a chunk is being produced: closing gives readers their topic back at once."""

    class Interrupting(list[Event]):
        passes = 0

        def __iter__(self) -> Iterator[Event]:
            self.passes += 1
            for i, event in enumerate(super().__iter__()):
                if i == 500 and self.passes == 3:  # two looks at all events come before the transaction
                    raise KeyboardInterrupt
                yield event

    sink = lab.sink()
    sink.start()
    sink.commit(lab.events(10), b"first")
    events = Interrupting(lab.events(1000))
    with pytest.raises(KeyboardInterrupt):
        sink.commit(events, b"second")
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 30
    assert sum(map(len, lab.read().values())) == 10
    assert lab.sink().start() == b"first"


def test_the_rate_can_be_changed_in_mid_run(lab):
    governor = Governor(rate=2000)
    events = lab.events(40_000)
    sink = lab.sink()
    pump = lab.pump(events, sink, governor=governor, piece=50)
    cursor = sink.start()
    run = threading.Thread(target=pump.run, args=(cursor,))
    run.start()
    time.sleep(2.5)
    slow = pump.outcome.published
    governor.rate = None
    run.join(30)
    assert not run.is_alive()
    assert 1000 <= slow <= 9000
    assert pump.outcome.published == 40_000


def test_pause_holds_and_resume_goes_on(lab):
    governor = Governor()
    governor.pause("a deployment is on its way")
    sink = lab.sink()
    seen: list[str] = []
    pump = lab.pump(lab.events(1000), sink, governor=governor, on_progress=lambda p: seen.append(p.held_by))
    run = threading.Thread(target=pump.run, args=(sink.start(),))
    run.start()
    time.sleep(1.5)
    assert pump.outcome.published == 0
    assert "a deployment is on its way" in seen
    governor.resume()
    run.join(10)
    assert pump.outcome.published == 1000


def test_readers_of_live_events_wait_no_longer_than_the_time_bound(lab):
    """An open transaction holds back live events of its partitions, too: for ``chunk_seconds``, not for a whole run."""
    bound = 1.0
    events = lab.events(150_000)
    delays: list[float] = []
    done = threading.Event()

    def watch() -> None:
        consumer = Consumer({**lab.client, "group.id": "live", "isolation.level": "read_committed"})
        consumer.assign([TopicPartition(lab.topic, p, 0) for p in range(3)])
        while not done.is_set():
            for message in consumer.consume(1000, 0.05):
                if message.error() is None and message.key() is None:
                    delays.append(time.time() - float(message.value() or b"0"))
        consumer.close()

    def live() -> None:
        producer = Producer({**lab.client, "linger.ms": 0})
        while not done.wait(0.05):
            producer.produce(lab.topic, b"%f" % time.time())
            producer.poll(0)
        producer.flush()

    others = [threading.Thread(target=watch), threading.Thread(target=live)]
    sink = lab.sink()
    cursor = sink.start()
    for thread in others:
        thread.start()
    outcome = lab.pump(events, sink, chunk_seconds=bound, governor=Governor(rate=40_000)).run(cursor)
    time.sleep(0.5)
    done.set()
    for thread in others:
        thread.join()
    print(
        f"live events: {len(delays)}, worst delay {max(delays):.2f} s; longest transaction "
        f"{outcome.longest_transaction:.2f} s"
    )
    assert len(delays) > 20
    assert outcome.longest_transaction < 3 * bound
    assert max(delays) < 4 * bound


def test_lag_of_a_consumer_group_holds_the_pump_until_it_has_caught_up(lab):
    group = f"billing.{uuid.uuid4().hex[:6]}"
    producer = Producer(lab.client)
    for _ in range(100):
        producer.produce(lab.topic, b"live", partition=0)
    producer.flush()
    consumer = Consumer({**lab.client, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(lab.topic, 0, 10)], asynchronous=False)
    protection = ConsumerLag(lab.client, group, [lab.topic], limit=50)
    assert protection.lag() == 90
    with Governor(protections=[protection], every=0.1) as governor:
        sink = lab.sink()
        pump = lab.pump(lab.events(100), sink, governor=governor)
        run = threading.Thread(target=pump.run, args=(sink.start(),))
        run.start()
        time.sleep(0.5)
        assert pump.outcome.published == 0
        assert governor.held_by == f"consumer group {group} is 90 events behind (limit 50)"
        consumer.commit(offsets=[TopicPartition(lab.topic, 0, 100)], asynchronous=False)
        run.join(10)
    consumer.close()
    assert pump.outcome.published == 100


def test_a_cluster_that_is_away_is_said_to_be_in_bounded_time():
    client = {"bootstrap.servers": "127.0.0.1:1"}
    sink = TransactionalSink(client, "test/nowhere", patience=2)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        sink.start()


def test_a_wrong_property_is_a_config_error(lab):
    with pytest.raises(ConfigError, match=r"no\.such\.property"):
        lab.sink(tuning={"no.such.property": 1}).start()


def test_a_checkpoint_topic_with_too_few_partitions_is_refused(lab):
    with pytest.raises(ConfigError, match="cursors need 12"):
        lab.sink(checkpoints=lab.topic).start()


def test_an_abort_right_after_the_first_event_leaves_the_unit_usable(lab):
    """librdkafka#4849: such an abort may fail for good; then the client is made anew."""
    sink = lab.sink()
    sink.start()
    bad = lab.events(2)
    bad[1].headers = [(f"h{i}", random.Random(i).randbytes(150)) for i in range(10_000)]
    for attempt in range(3):
        with pytest.raises(RefusedError):
            sink.commit(bad, b"never")
        sink.commit(lab.events(1), b"%d" % attempt)
    assert sum(map(len, lab.read().values())) == 3
