"""Compacted topics that are brought to another schema where they are, while others write to them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from redrive.events import Event
from redrive.migrations.in_place import guard as guards
from redrive.migrations.in_place import newest as newest_events
from redrive.wire import frame
from tests.pumping import each
from tests.stack.migrations.keyed import NEW, OLD, Topic, upgraded, value
from tests.stack.migrations.lab import Lab


@pytest.fixture
def topic(stack: Any) -> Topic:
    return Topic(Lab.make(stack.endpoints.bootstrap, **{"cleanup.policy": "compact"}))


def test_the_newest_event_of_each_key_is_published_again_and_deletions_stay(topic: Topic) -> None:
    topic.put([("a", value("old")), ("a", value("newer")), ("b", value("b")), ("b", None), ("c", value("c", NEW))])
    topic.put([("d", value("d"))])
    result = topic.renew()
    assert topic.values() == {"a": value("NEWER", NEW), "b": None, "c": value("c", NEW), "d": value("D", NEW)}
    assert (result.outcome.published, len(topic.read(topic.source))) == (2, 8)
    before, after = topic.read(topic.source)[1], topic.read(topic.source)[6]
    assert (after.key(), after.timestamp(), after.headers()[:-2]) == (b"a", before.timestamp(), before.headers())
    assert [name for name, _ in after.headers()[-2:]] == ["redrive-operation", "redrive-source"]
    assert topic.renew("op-2").outcome.published == 0


def test_only_the_headers_of_the_last_operation_are_kept(topic: Topic) -> None:
    topic.put([("a", value("a"))])
    topic.renew()
    topic.renew("op-2", target=NEW + 1)
    once, twice = topic.read(topic.source)[1:]
    assert twice.headers()[:-2] == once.headers()[:-2]
    origin = once.headers()[-1][1].removesuffix(b"0/0") + b"1/0"
    assert twice.headers()[-2:] == [("redrive-operation", b"op-2"), ("redrive-source", origin)]


def test_what_cannot_be_migrated_stays_as_it_is_and_is_counted(topic: Topic) -> None:
    topic.put([("a", value("a")), ("b", value("bad"))])
    result = topic.renew()
    assert topic.values() == {"a": value("A", NEW), "b": value("bad")}
    assert result.outcome.skipped["stays as it is: it is bad"] == 1
    assert result.outcome.balanced


def test_many_keys_are_done_window_by_window(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest_events, "WINDOW", 70)
    draw = random.Random(3)
    written = {f"{draw.randrange(100)}": f"v{number}" for number in range(500)}
    topic.put([(key, value(f"before {key}")) for key in written])
    topic.put([(key, value(content)) for key, content in written.items()])
    assert topic.renew().outcome.published == len(written)
    assert topic.values() == {key: value(content.upper(), NEW) for key, content in written.items()}


def meanwhile(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], None]) -> None:
    """Do something when all of a transaction is about to be written: once for each of the transactions."""
    before, left = guards.Guard.before, list(acts)

    def then(self: Any, events: Any) -> Any:
        changed = before(self, events)
        if not changed and left:
            left.pop(0)()
        return changed

    monkeypatch.setattr(guards.Guard, "before", then)


@pytest.mark.parametrize("newer", [value("newer"), value("newer", NEW), None], ids=["old schema", "new", "deletion"])
def test_a_newer_event_that_comes_in_between_prevails_for_every_reader(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, newer: bytes | None
) -> None:
    topic.put([("a", value("first")), ("b", value("b"))])
    meanwhile(monkeypatch, lambda: topic.put([("a", newer)]))
    topic.renew()
    wanted = {"a": upgraded(newer), "b": value("B", NEW)}
    assert topic.values() == topic.values(committed=False) == wanted
    assert value("FIRST", NEW) not in [message.value() for message in topic.read(topic.source)]


def test_an_event_of_a_transaction_that_is_aborted_holds_nothing_up(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.put([("a", value("first"))])
    producer = Producer(topic.client | {"transactional.id": topic.source})
    producer.init_transactions(30)

    def write() -> None:
        producer.begin_transaction()
        producer.produce(topic.source, value("never"), b"a", 0)
        producer.flush()
        threading.Timer(1, lambda: producer.abort_transaction(30)).start()

    meanwhile(monkeypatch, write)
    topic.renew()
    assert topic.values() == {"a": value("FIRST", NEW)}


def test_what_is_in_a_transaction_that_is_open_at_the_beginning_is_waited_for(topic: Topic) -> None:
    topic.put([("a", value("a"))])
    producer = Producer(topic.client | {"transactional.id": topic.source})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic.source, value("b"), b"b", 0)
    producer.flush()
    threading.Timer(1, producer.commit_transaction, [30]).start()
    topic.renew()
    assert topic.values() == {"a": value("A", NEW), "b": value("B", NEW)}


class DeadError(Exception):
    """Stands for a process that is no more."""


@pytest.mark.parametrize("newest", [value("newest"), None], ids=["a value", "a deletion"])
def test_what_comes_while_it_is_found_out_what_a_newer_event_has_become_prevails_over_both(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, newest: bytes | None
) -> None:
    topic.put([("a", value("first")), ("b", value("b"))])
    meanwhile(monkeypatch, lambda: topic.put([("a", value("newer"))]))
    settle, left = guards.Guard._settle, [newest]

    def then(self: Any) -> None:
        tried = self._tried
        settle(self)
        if tried and left:
            topic.put([("a", left.pop())])

    monkeypatch.setattr(guards.Guard, "_settle", then)
    topic.renew()
    assert not left
    assert topic.values() == topic.values(committed=False) == {"a": newest, "b": value("B", NEW)}


def test_a_deletion_prevails_that_was_in_a_transaction_when_the_partition_was_read(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.put([("a", value("first"))])
    producer = Producer(topic.client | {"transactional.id": topic.source})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic.source, None, b"a", 0)
    producer.flush()
    mend = guards.Guard.mend

    def then(self: Any, since: int) -> Any:
        topic.put([("b", value("b"))])
        producer.commit_transaction(30)
        return mend(self, since)

    monkeypatch.setattr(guards.Guard, "mend", then)
    topic.renew(upto=1)
    assert topic.values() == {"a": None, "b": value("b")}


@pytest.mark.parametrize("newer", [value("newer"), value("newer", NEW), None], ids=["old schema", "new", "deletion"])
def test_a_run_that_dies_before_it_has_looked_leaves_nothing_wrong_behind(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, newer: bytes | None
) -> None:
    topic.put([("a", value("first")), ("b", value("b"))])
    meanwhile(monkeypatch, lambda: topic.put([("a", newer)]))

    def die(*_: Any) -> bool:
        raise DeadError

    with monkeypatch.context() as patch:
        patch.setattr(guards.Guard, "holds", die)
        with pytest.raises(DeadError):
            topic.renew()
    assert topic.values(committed=False)["a"] == value("FIRST", NEW)
    assert topic.values()["a"] == newer
    topic.renew("op-2")
    assert topic.values() == topic.values(committed=False) == {"a": upgraded(newer), "b": value("B", NEW)}


def too_large(event: Event) -> Event:
    now = frame(NEW, random.Random(5).randbytes(2 << 20))
    return Event(event.id, event.topic, event.key, now, event.headers, event.timestamp, event.partition, event.origin)


@pytest.mark.parametrize("dies", [False, True], ids=["at once", "after a crash"])
def test_a_newer_event_that_brokers_refuse_migrated_is_published_again_as_it_is(
    topic: Topic, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    topic.put([("a", value("first")), ("b", value("b"))])
    meanwhile(monkeypatch, lambda: topic.put([("a", value("newer"))]))

    def die(*_: Any) -> bool:
        raise DeadError

    if dies:
        with monkeypatch.context() as patch:
            patch.setattr(guards.Guard, "holds", die)
            with pytest.raises(DeadError):
                topic.renew()
    topic.renew("op-2", again=each(too_large))
    assert topic.values() == topic.values(committed=False) == {"a": value("newer"), "b": value("B", NEW)}
    topic.renew("op-3")
    assert topic.values() == topic.values(committed=False) == {"a": value("NEWER", NEW), "b": value("B", NEW)}


def test_whatever_producers_write_meanwhile_the_newest_value_of_each_key_prevails(topic: Topic) -> None:
    keys = [f"key {number}" for number in range(40)]
    topic.put([(key, value("first")) for key in keys for _ in range(50)])
    newest: dict[str, bytes | None] = dict.fromkeys(keys, value("first"))
    done = threading.Event()

    def write(seed: int) -> None:
        draw, producer = random.Random(seed), Producer(topic.client | {"linger.ms": 1})
        mine = keys[seed::4]
        number = 0
        while not done.is_set():
            number += 1
            key, kind = draw.choice(mine), draw.random()
            content = None if kind < 0.2 else value(f"{seed} {number}", NEW if kind < 0.5 else OLD)
            newest[key] = content
            producer.produce(topic.source, content, key.encode(), 0)
            producer.poll(0)
            if number % 20 == 0:
                time.sleep(draw.random() / 50)
        producer.flush()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]  # a quarter of the keys is quiet
    for writer in writers:
        writer.start()
    until = time.monotonic() + 4
    runs = 0
    while time.monotonic() < until:
        runs += 1
        topic.renew(f"op-{runs}")
    done.set()
    for writer in writers:
        writer.join()
    topic.renew("op-last")
    wanted = {key: upgraded(content) for key, content in newest.items()}
    assert topic.values() == topic.values(committed=False) == wanted
    assert runs > 2
