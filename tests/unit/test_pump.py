"""The pump's loop, in one thread, from a source in memory into a sink in memory."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence

import msgspec
import pytest

from redrive.errors import (
    CheckpointError,
    FencedError,
    OvertakenError,
    RefusedError,
    StoppedError,
    UnavailableError,
    UnparkableError,
)
from redrive.events import Event
from redrive.pump import pump as pump_module
from redrive.pump.checkpoint import OTHER_REASONS, Checkpoint
from redrive.pump.governor import Governor
from redrive.pump.model import Chunk, Rejected, Skipped
from redrive.pump.pump import Progress, Pump
from tests.pumping import ListSource, MemorySink, each, make_events


def make_pump(source: ListSource, sink: MemorySink, **options: object) -> Pump:
    return Pump(source, sink, parking_topic="parked", **options)  # type: ignore[arg-type]


def test_publishes_everything_once_and_in_order():
    events = make_events(1000)
    sink = MemorySink()
    outcome = make_pump(ListSource(events, piece=7), sink).run(sink.start())
    assert sink.published == events
    assert (outcome.read, outcome.published, outcome.balanced) == (1000, 1000, True)
    assert outcome.evidence["orders"].count == 1000


def test_an_empty_source_commits_nothing():
    sink = MemorySink()
    outcome = make_pump(ListSource([]), sink).run(sink.start())
    assert (outcome.read, outcome.balanced, sink.commits) == (0, True, 0)
    assert outcome.cursor is None


def test_several_pieces_share_a_transaction_up_to_chunk_bytes():
    events = make_events(100, size=1000)
    sink = MemorySink()
    make_pump(ListSource(events, piece=1), sink, chunk_bytes=10_500).run(None)
    assert sink.commits == pytest.approx(10, abs=1)


def test_a_transaction_begins_before_events_have_waited_too_long():
    now = [0.0]

    class Slow(ListSource):
        def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
            for chunk in super().chunks(cursor):
                now[0] += 0.3
                yield chunk

    sink = MemorySink()
    make_pump(Slow(make_events(10), piece=1), sink, chunk_seconds=1.0, clock=lambda: now[0]).run(None)
    assert sink.commits == 2  # after 4 more pieces each: 1.2 s


def test_transactions_get_shorter_when_they_stay_open_for_too_long():
    now = [0.0]

    class Slow(MemorySink):
        def commit(self, events: Sequence[Event], cursor: bytes) -> None:
            now[0] += len(events) / 100  # 100 events a second
            super().commit(events, cursor)

    sink = Slow()
    events = make_events(20_000, size=10_000)
    make_pump(ListSource(events, piece=10), sink, chunk_seconds=1.0, clock=lambda: now[0]).run(None)
    assert sink.sizes[0] > 200
    assert all(size <= 100 for size in sink.sizes[3:])


def test_a_slow_rate_makes_small_transactions():
    """So that the pace is even, not a burst and a pause."""
    sink = MemorySink()
    make_pump(ListSource(make_events(100), piece=1), sink, governor=Governor(rate=100), chunk_seconds=0.1).run(None)
    assert max(sink.sizes) == 10


def test_goes_on_from_its_cursor_with_its_totals():
    events = make_events(1000)
    sink = MemorySink(fail_at=3)
    pump = make_pump(ListSource(events), sink, chunk_bytes=10_000)
    with pytest.raises(UnavailableError):
        pump.run(sink.start())
    assert 0 < pump.outcome.published < 1000
    outcome = make_pump(ListSource(events), sink, chunk_bytes=10_000).run(sink.start())
    assert sink.published == events
    assert (outcome.read, outcome.published) == (1000, 1000)
    assert outcome.evidence == make_pump(ListSource(events), MemorySink()).run(None).evidence


def test_another_operation_goes_on_from_the_cursor_and_counts_anew():
    events = make_events(20)
    sink = MemorySink()
    make_pump(ListSource(events[:15]), sink, operation="monday").run(sink.start())
    outcome = make_pump(ListSource(events), sink, operation="tuesday").run(sink.start())
    assert sink.published == events
    assert outcome.published == 5


def test_run_can_be_called_again_to_go_on():
    events = make_events(20)
    sink = MemorySink()
    source = ListSource(events[:5])
    pump = make_pump(source, sink)
    first = pump.run(sink.start())
    source.events = events
    assert pump.run(first.cursor).read == 20
    assert sink.published == events


def test_a_source_hears_of_each_piece_after_it_is_committed():
    events = make_events(10)
    sink = MemorySink(fail_at=2)
    source = ListSource(events, piece=2)
    with pytest.raises(UnavailableError):
        make_pump(source, sink, chunk_bytes=1).run(None)
    assert source.heard == [b"2"]


def test_events_as_they_were_read_are_not_kept_until_their_transaction_is_committed():
    class Id(str):
        """A text that can be watched."""

    watched: list[weakref.ref[Id]] = []
    kept: list[int] = []

    class Reading(ListSource):
        def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
            for number, event in enumerate(self.events):
                as_read = Id(event.id)
                watched.append(weakref.ref(as_read))
                yield Chunk([msgspec.structs.replace(event, id=as_read)], b"%d" % number)
                del as_read

    class Looking(MemorySink):
        def commit(self, events: Sequence[Event], cursor: bytes) -> None:
            super().commit(events, cursor)
            kept.append(sum(event() is not None for event in watched))

    sink = Looking()
    transform = each(lambda event: msgspec.structs.replace(event, id=event.id + "!"))
    make_pump(Reading(make_events(100)), sink, transform=transform).run(None)
    assert sink.sizes == [100]
    assert max(kept) <= 1  # the last one: the source stands at it


def test_each_event_ends_in_exactly_one_way():
    def transform(event: Event) -> Event | Rejected | Skipped:
        number = int(event.id)
        if number % 3 == 0:
            return Rejected("odd price")
        if number % 3 == 1:
            return Skipped("superseded")
        return event

    sink = MemorySink()
    outcome = make_pump(ListSource(make_events(9)), sink, transform=each(transform)).run(None)
    assert (outcome.read, outcome.published) == (9, 3)
    assert outcome.skipped == {"superseded": 3}
    assert outcome.parked == {"odd price": 3}
    assert outcome.balanced


def test_what_the_source_passes_over_counts_as_read_and_skipped():
    class Holey(ListSource):
        def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
            for chunk in super().chunks(cursor):
                yield Chunk(chunk.events, chunk.cursor, {"already in the topic": 2})

    outcome = make_pump(Holey(make_events(10), piece=5), MemorySink()).run(None)
    assert (outcome.read, outcome.skipped, outcome.balanced) == (14, {"already in the topic": 4}, True)


def test_a_parked_event_keeps_its_bytes_and_says_why_and_where_it_belonged():
    event = make_events(1)[0]
    sink = MemorySink()
    make_pump(ListSource([event]), sink, transform=each(lambda _: Rejected("no price"))).run(None)
    (parked,) = sink.published
    assert (parked.topic, parked.key, parked.value, parked.timestamp) == ("parked", event.key, event.value, 1)
    assert parked.origin == event.origin
    assert parked.headers == [*event.headers, ("redrive-topic", b"orders"), ("redrive-reason", b"no price")]


def test_a_transform_that_cannot_work_at_present_stops_the_unit():
    def transform(event: Event) -> Event:
        raise UnavailableError("registry", "refused")

    sink = MemorySink()
    with pytest.raises(UnavailableError):
        make_pump(ListSource(make_events(4)), sink, transform=each(transform)).run(None)
    assert sink.commits == 0


def test_an_event_that_the_cluster_refuses_is_parked_and_the_rest_goes_on():
    events = make_events(10)
    sink = MemorySink(refuse={("orders", "3"), ("orders", "7")})
    outcome = make_pump(ListSource(events), sink).run(None)
    assert (outcome.published, outcome.parked) == (8, {"MSG_SIZE_TOO_LARGE": 2})
    assert [event.id for event in sink.published if event.topic == "parked"] == ["3", "7"]
    assert outcome.evidence["orders"].count == 8
    assert outcome.evidence["parked"].count == 2


def test_an_event_that_not_even_the_parking_topic_takes_stops_the_unit_before_it():
    sink = MemorySink(refuse={("orders", "3"), ("parked", "3")})
    with pytest.raises(UnparkableError, match=r"event 3 .*max\.message\.bytes"):
        make_pump(ListSource(make_events(10)), sink).run(None)
    assert sink.commits == 0


def test_reasons_do_not_grow_without_bound():
    sink = MemorySink()
    pump = make_pump(
        ListSource(make_events(500)), sink, transform=each(lambda e: Rejected(f"{e.id} is bad" + "!" * 500))
    )
    outcome = pump.run(None)
    assert len(outcome.parked) == 51
    assert outcome.parked[OTHER_REASONS] == 450
    assert outcome.balanced
    assert max(map(len, outcome.parked)) == 200


def test_stop_leaves_a_clean_cursor():
    events = make_events(1000)
    governor = Governor()

    class Stopping(MemorySink):
        def commit(self, events: Sequence[Event], cursor: bytes) -> None:
            super().commit(events, cursor)
            if self.commits == 3:
                governor.stop("cancelled in the UI")

    sink = Stopping()
    pump = make_pump(ListSource(events), sink, governor=governor, chunk_bytes=10_000)
    with pytest.raises(StoppedError, match="cancelled in the UI"):
        pump.run(None)
    assert sink.commits == 3
    assert pump.outcome.published == len(sink.published)
    make_pump(ListSource(events), sink).run(sink.start())
    assert sink.published == events


def test_fenced_stops_at_once():
    sink = MemorySink()
    sink.start()
    pump = make_pump(ListSource(make_events(10)), sink)
    sink.fenced = True
    with pytest.raises(FencedError):
        pump.run(None)


def test_reading_ahead_changes_nothing_but_the_speed():
    events = make_events(1000)
    sink = MemorySink()
    outcome = make_pump(ListSource(events, piece=3), sink, prefetch=4).run(None)
    assert sink.published == events
    assert outcome.balanced


def test_reading_ahead_passes_on_what_the_source_raises():
    class Broken(ListSource):
        def chunks(self, cursor: bytes | None) -> Iterator[Chunk]:
            yield Chunk(self.events[:5], b"5")
            raise UnavailableError("DynamoDB", "throttled")

    with pytest.raises(UnavailableError, match="throttled"):
        make_pump(Broken(make_events(10)), MemorySink(), prefetch=2).run(None)


def test_an_interrupt_passes_through():
    """KeyboardInterrupt and its like are nobody's to swallow."""

    def transform(event: Event) -> Event:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pump(ListSource(make_events(10)), MemorySink(), transform=each(transform)).run(None)


def test_reports_at_most_once_a_second_and_at_the_end():
    now = [0.0]

    class Timed(MemorySink):
        def commit(self, events: Sequence[Event], cursor: bytes) -> None:
            now[0] += 0.25
            super().commit(events, cursor)

    seen: list[Progress] = []
    source = ListSource(make_events(100), piece=1)
    make_pump(source, Timed(), chunk_bytes=1, on_progress=seen.append, total=100, clock=lambda: now[0]).run(None)
    assert len(seen) == 26
    assert seen[-1].published == 100
    assert seen[-1].seconds_left == 0
    assert seen[10].rate == pytest.approx(4)
    assert seen[10].seconds_left == pytest.approx(15, abs=1)


def test_a_checkpoint_of_a_newer_version_is_refused_by_name():
    with pytest.raises(CheckpointError, match="newer Redrive wrote it \\(format 9"):
        Checkpoint.decode(b"\x09abc")


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"\x01\x93", b"\x01not it"])
def test_a_damaged_checkpoint_is_refused(data):
    with pytest.raises(CheckpointError):
        Checkpoint.decode(data)


def test_refusals_without_end_are_not_swallowed():
    class Stubborn(MemorySink):
        def commit(self, events: Sequence[Event], cursor: bytes) -> None:
            raise RefusedError({0: "INVALID_RECORD"})

    with pytest.raises(UnparkableError):
        make_pump(ListSource(make_events(3)), Stubborn()).run(None)


class Contended(MemorySink):
    """Has an event overtaken in each transaction of more than ten, and says so once it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.cursors: list[bytes] = []
        self.aborted = 0

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        if len(events) > 10:
            self.aborted += 1
            raise OvertakenError({1: Skipped("it has a newer one")}, aborted=True)
        super().commit(events, cursor)
        self.cursors.append(cursor)


def test_while_newer_events_keep_coming_transactions_become_small_and_the_cursor_moves_with_the_last_of_them(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pump_module, "_LEAST_BYTES", 1_000)
    events, sink = make_events(400, size=1000), Contended()
    begin = Checkpoint().encode()
    outcome = make_pump(ListSource(events, piece=1), sink, chunk_bytes=100_000).run(begin)
    assert len({event.id for event in sink.published}) == len(sink.published) == 400 - sink.aborted
    assert (outcome.read, outcome.published, outcome.balanced) == (400, len(sink.published), True)
    first = next(index for index, cursor in enumerate(sink.cursors) if cursor != begin)
    assert first > 8  # the first batch, of a hundred
    assert int(Checkpoint.decode(sink.cursors[first], "").source or b"") >= sum(sink.sizes[: first + 1])
    assert outcome.cursor == sink.cursors[-1]
    assert sink.aborted < 40  # later batches are small from the beginning


def test_while_newer_events_keep_coming_it_says_so():
    seconds = itertools.count()
    said: list[Progress] = []
    told = {"on_progress": said.append, "clock": lambda: float(next(seconds)), "chunk_seconds": 1e6}
    pump = make_pump(ListSource(make_events(40)), Contended(), **told)
    pump.run(Checkpoint().encode())
    assert pump_module.OVERTAKEN in {progress.held_by for progress in said}
    assert said[-1].held_by == ""
