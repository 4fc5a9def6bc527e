"""What a dispatcher does when something around it goes wrong: client, caller, table, or the end of the producer.

Kafka and the table are as small here as these questions need; `tests/explorer` and `tests/faults` judge the protocol.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from redrive.dispatch import Dispatcher, DispatchSettings
from redrive.dispatch.destination import Destinations
from redrive.dispatch.inflight import InFlight
from redrive.dispatch.standby import LINGER
from redrive.errors import BackPressureError, PublishError, UnavailableError
from redrive.events import Event
from redrive.producing.carried import carried_headers
from redrive.receipts import Progress, Receipt
from redrive.standby.batches import Stored
from redrive.standby.lanes import Lane, LaneLog
from redrive.standby.log import SEAL, seal
from redrive.standby.store import Slot
from redrive.standby.writer import Entry, LaneWriter, SystemClock


class Table:
    """A table that may fail where it is asked to."""

    def __init__(self, fails: Callable[[str], bool] = lambda pk: False) -> None:
        self.logs: dict[str, dict[int, Slot]] = {}
        self.versions: dict[str, int] = {}
        self._fails = fails
        self._lock = threading.Lock()

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        if self._fails(pk):
            raise UnavailableError("standby store", "throttled")
        with self._lock:
            there = self.logs.setdefault(pk, {}).setdefault(sk, slot)
        return None if there.token == slot.token else there

    def last(self, pk: str) -> tuple[int, Slot] | None:
        log = self.logs.get(pk)
        return (max(log), log[max(log)]) if log else None

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        return iter([(sk, slot) for sk, slot in sorted(self.logs.get(pk, {}).items()) if sk > after])

    def outline(self, pk: str, after: int = 0) -> Iterator[tuple[int, Slot]]:
        return iter(())

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        raise AssertionError("producers delete nothing")

    expire: Any = delete

    def version(self, pk: str) -> int:
        return self.versions.get(pk, 0)

    def bump(self, pk: str) -> None:
        self.versions[pk] = self.version(pk) + 1


class Client:
    """A Kafka client that confirms what it is given while it is up."""

    def __init__(self, *, up: bool = True, room: int = 10**9, renewals_that_fail: int = 0) -> None:
        self.fatal = self.all_down = False
        self.up, self.room, self.renewals_that_fail = up, room, renewals_that_fail
        self.queue: list[Receipt] = []

    def send(self, receipt: Receipt) -> None:
        if len(self.queue) >= self.room:
            raise BufferError
        self.queue.append(receipt)

    def poll(self, timeout: float) -> None:
        if self.up:
            self.report(Progress.ACKNOWLEDGED)
        time.sleep(min(timeout, 0.005))

    def report(self, progress: Progress) -> None:
        reported, self.queue = self.queue, []
        for receipt in reported:
            receipt.progress = progress

    def report_first(self) -> None:
        self.queue.pop(0).progress = Progress.ACKNOWLEDGED

    def purge(self) -> None:
        self.fatal = True
        self.report(Progress.TAKEN_BACK)

    def reachable(self) -> bool:
        return self.up

    def renew(self) -> None:
        if self.renewals_that_fail:
            self.renewals_that_fail -= 1
            raise RuntimeError("ssl.ca.location failed")
        self.fatal = False


class Rig:
    """A dispatcher at work, as a producer has it."""

    def __init__(
        self,
        client: Client,
        table: Table | None = None,
        *,
        on_refused: Callable[[Receipt], None] = lambda receipt: receipt.fail("refused"),
        destinations: Destinations | None = None,
        **settings: Any,
    ) -> None:
        given = {"divert_after": 0.3, "gate_refresh": 0.2, "publish_timeout": 5.0, "block_timeout": 3.0} | settings
        self.changed = threading.Condition()
        self.dispatcher = Dispatcher(
            "c",
            client,
            table or Table(),
            producer="A",
            lanes=lambda _: 2,
            run=lambda job: threading.Thread(target=job, daemon=True).start(),
            clock=SystemClock(),
            changed=self.changed,
            settings=DispatchSettings(**given),
            on_refused=on_refused,
            destinations=destinations,
        )
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def _tick(self) -> None:
        while not self._ended.is_set():
            try:
                self.dispatcher.tick(0.01)
            except RuntimeError:
                time.sleep(0.05)

    def publish(self, event_id: str, key: bytes = b"k", value: bytes = b"v", **more: Any) -> Receipt:
        receipt = Receipt(Event(event_id, "t", key, value, [], 0), self.changed)
        for call in more.values():
            receipt.add_done_callback(call)
        self.dispatcher.submit(receipt)
        return receipt

    def end(self) -> None:
        self._ended.set()
        self._ticker.join(5)
        self.dispatcher.abandon("closed")


def test_a_client_that_takes_no_more_and_confirms_nothing_holds_up_nobody_for_long() -> None:
    rig = Rig(Client(up=False, room=3))
    receipts = [rig.publish(str(number)) for number in range(10)]
    assert [receipt.result(10).path for receipt in receipts] == ["standby"] * 10


def test_a_client_that_can_not_be_renewed_at_once_takes_nothing_with_it() -> None:
    rig = Rig(Client(up=False, renewals_that_fail=3))
    assert rig.publish("x").result(10).path == "standby"
    assert rig.dispatcher.unacknowledged == 0


def test_a_callback_that_fails_disturbs_neither_the_publisher_nor_the_others() -> None:
    rig = Rig(Client())

    def fail(_: Receipt) -> None:
        raise ValueError("a caller's own")

    told: list[str] = []
    rig.publish("bad", call=fail)
    last = [rig.publish(str(number), call=lambda receipt: told.append(receipt.event_id)) for number in range(1_500)]
    last[-1].result(10)
    wait_until(lambda: len(told) == 1_500)
    counts = rig.dispatcher.counts  # on a machine that stood still, the cluster was too late for some of them
    assert counts["main"] + counts["standby"] == 1_501


def test_a_callback_may_wait_for_a_thread_that_publishes() -> None:
    rig = Rig(Client())
    done: list[bool] = []

    def publish_elsewhere(_: Receipt) -> None:
        thread = threading.Thread(target=rig.publish, args=("second",), daemon=True)
        thread.start()
        thread.join(3)
        done.append(not thread.is_alive())

    rig.publish("first", call=publish_elsewhere)
    wait_until(lambda: bool(done))
    assert done == [True]


def test_a_callback_that_publishes_while_too_much_waits_holds_nothing_up() -> None:
    """Room is made by the thread that calls back: waiting for it there would be waiting for oneself."""
    client = Client(up=False)
    rig = Rig(client, max_unacknowledged=2, block_timeout=30.0, divert_after=30.0)
    took: list[float] = []

    def follow(receipt: Receipt) -> None:
        rig.publish("more")  # another publisher is quicker, and takes the room that has been made
        began = time.monotonic()
        rig.publish("third")
        took.append(time.monotonic() - began)

    rig.publish("first", call=follow)
    rig.publish("second")
    client.report_first()
    wait_until(lambda: bool(took))
    assert took[0] < 5
    client.up = True
    wait_until(lambda: rig.dispatcher.unacknowledged == 0)


def test_nothing_gets_through_behind_an_event_that_the_client_has_not_taken() -> None:
    """Else it would be in Kafka, and the other one is stored, and comes after it."""
    client = Client(up=False, room=1)
    in_flight = InFlight(client, SystemClock())
    first, second, third = (Receipt(Event(name, "t", b"k", b"v", [], 0), threading.Condition()) for name in "123")
    first.published = second.published = third.published = time.monotonic()
    in_flight.send(first)
    in_flight.send(second)  # there is no room for it, for too long
    client.room = 10
    in_flight.send(third)
    assert client.queue == [first]
    assert in_flight.take_back() == ([first, second, third], [])


def test_an_interrupted_publish_leaves_nothing_that_is_waited_for_ever() -> None:
    class Interrupted(Client):
        def send(self, receipt: Receipt) -> None:
            super().send(receipt)
            if receipt.event_id == "3":
                raise KeyboardInterrupt

    rig = Rig(Interrupted())
    for number in range(3):
        rig.publish(str(number))
    with pytest.raises(KeyboardInterrupt):
        rig.publish("3")
    wait_until(lambda: rig.dispatcher.unacknowledged == 0)


def test_a_dead_letter_that_can_not_be_published_fails_its_event() -> None:
    def refuse(_: Receipt) -> None:
        raise UnavailableError("standby store", "gate_strict is on")

    client = Client(up=False)
    rig = Rig(client, on_refused=refuse, divert_after=60.0)
    receipts = [rig.publish("x"), rig.publish("y")]
    client.report(Progress.REFUSED)
    for receipt in receipts:
        with pytest.raises(PublishError, match="its dead letter could not be published"):
            receipt.result(5)
    assert (rig.dispatcher.unacknowledged, rig.dispatcher.counts["failed"]) == (0, 2)


def test_whoever_still_publishes_when_the_producer_ends_is_told_so() -> None:
    rig = Rig(Client(up=False), max_unacknowledged=2, divert_after=60.0)
    first = [rig.publish("1"), rig.publish("2")]
    errors: list[BaseException] = []

    def late() -> None:
        try:
            rig.publish("late")
        except PublishError as error:
            errors.append(error)

    publisher = threading.Thread(target=late)
    publisher.start()
    time.sleep(0.2)  # it waits for room
    rig.end()
    publisher.join(5)
    assert [receipt.progress for receipt in first] == [Progress.FAILED] * 2
    assert "closed" in str(errors[0])
    assert rig.dispatcher.unacknowledged == 0


def test_what_kafka_has_confirmed_is_acknowledged_at_the_end_whatever_stands_before_it() -> None:
    client = Client(up=False)
    rig = Rig(client, divert_after=60.0)
    head, behind = rig.publish("head"), rig.publish("behind")
    client.queue.remove(behind)
    behind.progress = Progress.ACKNOWLEDGED
    rig.end()
    assert (head.progress, rig.dispatcher.counts["main"]) == (Progress.FAILED, 1)
    assert rig.dispatcher.unacknowledged == 0


def test_events_are_bounded_in_bytes_as_well() -> None:
    rig = Rig(Client(up=False), max_unacknowledged_bytes=1_000, divert_after=60.0, block_timeout=0.2)
    rig.publish("1", value=bytes(1_000))
    with pytest.raises(BackPressureError, match="bytes"):
        rig.publish("2")


def test_a_failing_write_is_not_taken_for_a_gate_that_can_not_be_read() -> None:
    """With `gate_strict`, or with a view that is too old, that would be wrong in two ways."""
    rig = Rig(Client(up=False), Table(fails=lambda pk: pk.startswith("stream|")), gate_strict=True)
    rig.publish("stuck")
    wait_until(lambda: "throttled" in rig.dispatcher.why_waiting)
    time.sleep(0.5)
    rig.publish("next")  # the gate is well: no UnavailableError


class SlowTable(Table):
    """A table that takes its time for each write."""

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        time.sleep(0.02)
        return super().put_new(pk, sk, slot)


def test_events_that_come_faster_than_they_are_stored_share_slots() -> None:
    table = SlowTable()
    rig = Rig(Client(up=False), table)
    rig.publish("first").result(10)
    receipts = []
    for number in range(100):
        receipts.append(rig.publish(str(number)))
        time.sleep(0.005)
    assert {receipt.result(10).path for receipt in receipts} == {"standby"}
    (slots,) = [log for pk, log in table.logs.items() if pk.startswith("stream|")]
    assert len(slots) < 10


def test_whoever_waits_for_each_event_does_not_linger() -> None:
    rig = Rig(Client(up=False), SlowTable())
    rig.publish("first").result(10)
    began = time.monotonic()
    for number in range(30):
        rig.publish(str(number)).result(10)
    assert time.monotonic() - began < 30 * LINGER / 2


def test_what_jobs_have_said_of_an_event_is_not_passed_on_with_its_headers() -> None:
    passed_on: Any = [
        ("redrive-operation", b"op"),
        ("kind", b"a"),
        ("redrive-source", b"backfill/one/a/b/0/events/5/0"),
    ]
    assert carried_headers("t", passed_on) == [("kind", b"a")]


def test_headers_of_subclasses_become_plain_ones() -> None:
    """MessagePack, in which the standby store keeps them, knows nothing of subclasses."""

    class Name(str):
        __slots__ = ()

    class Raw(bytes):
        __slots__ = ()

    ((name, value), *_) = carried_headers("t", [(Name("n"), Raw(b"v"))])
    assert (type(name), type(value)) == (str, bytes)


def test_each_seal_is_waited_for_anew() -> None:
    """A lane whose producers are busy would never open again, if one seal that took too long spoilt all that follow."""

    class Clock(SystemClock):
        time = 0.0

        def monotonic(self) -> float:
            return self.time

    table, clock, lane = Table(), Clock(), Lane("c", "t", 0)
    writer = LaneWriter(table, lane, "A", clock=clock, grace=0.0, seal_wait=5.0)
    log = LaneLog(table, lane)
    for epoch in (1, 2, 3):
        assert writer.enter(must_divert=epoch == 1) is Entry.STANDBY
        assert log.extend(log.state(), SEAL, epoch, "replay")
        seal(table, lane.stream(epoch, "A"), "replay")
        assert not writer.store([Stored("x", b"k", b"v", [], 0)])
        assert writer.enter(must_divert=False) is Entry.SEALED
        clock.time += 4.0
        assert writer.enter(must_divert=False) is Entry.SEALED
        clock.time += 2.0


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)
