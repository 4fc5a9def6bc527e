"""The proof finds every way in which a topic can differ from what was published; a scan gets to the true end."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from redrive.envelope import Identity
from redrive.errors import UnavailableError, UnknownTopicError
from redrive.events import Event
from redrive.pump.proof import Proof, prove
from redrive.pump.pump import Outcome
from redrive.pump.readback import end_offsets, find_events, offsets_for_time, scan
from redrive.pump.sink import TransactionalSink
from tests.stack.pumping import OPERATION, Lab

COUNT = 2000

Mutation = Callable[[list[Event]], list[Event]]


@pytest.fixture(scope="module")
def checkpoints() -> str:
    return f"pump.checkpoints.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def lab(stack: Any, checkpoints: str) -> Iterator[Lab]:
    lab = Lab.make(stack.endpoints.bootstrap, checkpoints)
    yield lab
    for sink in lab.sinks:
        sink.close()


class Faulty(TransactionalSink):
    """Publishes something else than it was told to: what the proof is there to find."""

    mutation: Mutation

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        super().commit(self.mutation(list(events)), cursor)


def publish(lab: Lab, mutation: Mutation = lambda events: events) -> Outcome:
    sink = Faulty(lab.client, lab.unit, operation=OPERATION, checkpoints=lab.checkpoints)
    sink.mutation = mutation
    try:
        return lab.pump(lab.events(COUNT), sink).run(sink.start())
    finally:
        sink.close()


def proof_of(lab: Lab, outcome: Outcome, **options: Any) -> Proof:
    return prove(lab.client, {lab.unit: outcome.evidence}, operation=OPERATION, **options)


def named(*ids: str) -> set[Identity]:
    return {(None, each.encode()) for each in ids}


def found(lab: Lab, *ids: str, since: int = 0) -> set[Identity]:
    starts, ends = offsets_for_time(lab.client, lab.topic, since), end_offsets(lab.client, lab.topic)
    span = dict(enumerate(zip(starts, ends, strict=True)))
    return set(find_events(lab.client, lab.topic, named(*ids), span))


def changed(event: Event, **fields: Any) -> Event:
    names = ("id", "topic", "key", "value", "headers", "timestamp", "partition", "origin")
    return Event(**{**{name: getattr(event, name) for name in names}, **fields})


MUTATIONS: dict[str, tuple[Mutation, str]] = {
    "lost": (lambda es: es[:70] + es[71:], "1 events are missing"),
    "published twice": (lambda es: [*es[:71], es[70], *es[71:]], "is there again, or too late"),
    "published twice, much later": (lambda es: [*es, es[70]], "is there again, or too late"),
    "one lost, another published twice": (lambda es: [*es[:70], es[69], *es[71:]], "is there again, or too late"),
    "out of order": (lambda es: [*es[:20], es[70], *es[20:70], *es[71:]], "is there again, or too late"),
    "another value": (lambda es: [changed(es[0], value=b"forged"), *es[1:]], "is not what was published"),
    "another key": (lambda es: [*es[:-1], changed(es[-1], key=b"forged")], "is not what was published"),
    "no headers": (lambda es: [changed(e, headers=[]) for e in es], "is not what was published"),
    "another time": (lambda es: [changed(es[0], timestamp=999), *es[1:]], "timestamps"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_finds_what_is(lab, name):
    mutation, finding = MUTATIONS[name]
    proof = proof_of(lab, publish(lab, mutation))
    assert proof.verdict == "failed"
    assert any(finding in f for f in proof.findings), proof.findings


def test_finds_a_copy_that_somebody_else_made(lab):
    outcome = publish(lab)
    event = lab.events(COUNT)[70]
    producer = Producer(lab.client)
    provenance = [("redrive-operation", OPERATION.encode()), ("redrive-source", event.origin.encode())]
    producer.produce(lab.topic, event.value, event.key, headers=[*event.headers, *provenance], partition=0)
    producer.flush()
    proof = proof_of(lab, outcome)
    assert proof.verdict == "failed"
    assert any("1 events too many are there" in f for f in proof.findings)


def test_finds_what_was_deleted_from_the_topic(lab):
    outcome = publish(lab)
    admin = AdminClient(lab.client)
    for future in admin.delete_records([TopicPartition(lab.topic, 0, 5)]).values():
        future.result()
    proof = proof_of(lab, outcome)
    assert proof.verdict == "failed"
    (finding,) = proof.findings
    assert "5 events are missing" in finding
    assert "partition 0 now begins at offset 5: see the topic's retention" in finding


def test_finds_an_event_in_doubt_that_arrived_after_all(lab):
    """The producer's own copy and the replayed one carry the same event id."""
    since = int(time.time() * 1000)
    producer = Producer(lab.client)
    event = lab.events(COUNT)[70]
    producer.produce(lab.topic, event.value, event.key, headers=event.headers)
    producer.flush()
    outcome = publish(lab)
    assert proof_of(lab, outcome).verdict == "proved"
    proof = proof_of(lab, outcome, also_ids=named(event.id, "71"), since_ms=since)
    assert proof.verdict == "failed"
    (finding,) = proof.findings
    assert finding.startswith(f"event 70 is there twice: at {lab.topic}-")
    assert proof_of(lab, outcome, also_ids=named("71"), since_ms=since).verdict == "proved"


def test_an_event_in_doubt_that_its_sender_sent_again_is_counted_and_no_fault(lab):
    """What is sent again is accepted again: it has the same id and another time."""
    since = int(time.time() * 1000)
    event = lab.events(COUNT)[70]
    producer = Producer(lab.client)
    for second in (b"1", b"2"):
        headers = [*event.headers, ("ce_time", b"2026-01-01T00:00:0%s.000Z" % second)]
        producer.produce(lab.topic, event.value, event.key, headers=headers)
    producer.flush()
    proof = proof_of(lab, publish(lab), also_ids=named(event.id), since_ms=since)
    assert (proof.verdict, proof.findings, proof.repeated) == ("proved", [], 2)


def test_an_event_of_another_source_with_the_same_id_is_another_event(lab):
    """Two services that number their orders: CloudEvents asks of an id that it is unique with its source."""
    since = int(time.time() * 1000)
    producer = Producer(lab.client)
    for source in (b"shop", b"stock"):
        producer.produce(lab.topic, b"v", b"k", headers=[("ce_id", b"o-17"), ("ce_source", source)])
    producer.flush()
    span = {p: (0, end) for p, end in enumerate(end_offsets(lab.client, lab.topic))}
    wanted = {(b"shop", b"o-17"), (b"bank", b"o-17")}
    assert find_events(lab.client, lab.topic, wanted, span).keys() == {(b"shop", b"o-17")}
    both = {(b"shop", b"o-17"), (b"stock", b"o-17")}
    assert proof_of(lab, publish(lab), also_ids=both, since_ms=since).findings == []


def test_counts_only_when_asked_to(lab):
    outcome = publish(lab, MUTATIONS["another value"][0])
    assert proof_of(lab, outcome, mode="counts").verdict == "counted"
    assert proof_of(lab, outcome, mode="full").verdict == "failed"


def test_others_events_do_not_disturb_it_and_several_units_share_one_reading(lab):
    first = publish(lab)
    producer = Producer(lab.client)
    for i in range(500):
        producer.produce(lab.topic, b"live", b"%d" % i, headers=[("ce_id", b"live-%d" % i)])
        producer.produce(lab.topic, b"bare", b"%d" % i)
    producer.flush()
    other = Lab(lab.client, lab.topic, lab.parking, f"{lab.unit}/other", lab.checkpoints)
    second = publish(other)
    proof = prove(lab.client, {lab.unit: first.evidence, other.unit: second.evidence}, operation=OPERATION)
    assert (proof.verdict, proof.findings) == ("proved", [])
    assert proof.counted == {lab.unit: COUNT, other.unit: COUNT}
    assert proof.read == 2 * COUNT + 1000


def test_a_scan_waits_for_an_open_transaction_and_skips_what_was_aborted(lab):
    publish(lab)
    other = Producer({**lab.client, "transactional.id": f"other-{uuid.uuid4()}"})
    other.init_transactions()
    other.begin_transaction()
    for i in range(100):
        other.produce(lab.topic, b"aborted", b"%d" % i, headers=[("ce_id", b"ghost-%d" % i)])
    other.flush()
    threading.Timer(1.0, other.abort_transaction).start()
    began = time.monotonic()
    read = sum(len(batch) for batch in scan(lab.client, lab.topic))
    assert read == COUNT
    assert time.monotonic() - began > 0.8
    assert found(lab, "ghost-1", "70") == named("70")


def test_a_scan_gives_up_on_a_transaction_that_stays_open_and_says_so(lab):
    other = Producer({**lab.client, "transactional.id": f"other-{uuid.uuid4()}"})
    other.init_transactions()
    other.begin_transaction()
    other.produce(lab.topic, b"open", partition=1)
    other.flush()
    with pytest.raises(UnavailableError, match=f"partition 1 of {lab.topic}.*transaction open"):
        list(scan(lab.client, lab.topic, patience=1.0))
    other.abort_transaction()


def test_a_scan_ends_at_the_end_of_its_beginning_while_others_go_on_publishing(lab):
    publish(lab)
    stop = threading.Event()

    def live() -> None:
        producer = Producer(lab.client)
        while not stop.wait(0.001):
            producer.produce(lab.topic, b"live")
            producer.poll(0)
        producer.flush()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        ends = end_offsets(lab.client, lab.topic)
        seen = [m for batch in scan(lab.client, lab.topic, end=dict(enumerate(ends))) for m in batch]
    finally:
        stop.set()
        thread.join()
    assert all((m.offset() or 0) < ends[m.partition() or 0] for m in seen)
    assert sum(m.value() != b"live" for m in seen) == COUNT


def test_ids_are_looked_up_from_a_time_on(lab):
    sink = lab.sink()
    sink.start()
    sink.commit(lab.events(100), b"1")  # at 1, 2, 3, … ms
    assert found(lab, "5", "50", "nobody") == named("5", "50")
    assert found(lab, "50", "99", since=100) == named("99")
    assert found(lab, "50", since=1000) == set()
    assert found(lab) == set()
    after_all = dict(enumerate(offsets_for_time(lab.client, lab.topic, 1000)))
    assert list(scan(lab.client, lab.topic, after_all)) == []


def test_an_unknown_topic_is_named(lab):
    with pytest.raises(UnknownTopicError, match=r"no\.such\.topic"):
        list(scan(lab.client, "no.such.topic"))
    assert "no.such.topic" not in AdminClient(lab.client).list_topics().topics
