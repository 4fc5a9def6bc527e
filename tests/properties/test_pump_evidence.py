"""Whatever the pieces, the transform, the crashes: each event ends in one way, once, and the evidence adds up."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from redrive.errors import UnavailableError
from redrive.events import Event
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.evidence import Evidence, Tally
from redrive.pump.model import Rejected, Skipped
from redrive.pump.pump import Outcome, Pump
from tests.pumping import ListSource, MemorySink, each, make_events


class Crashing(MemorySink):
    """Fails at each of some commits: before it has committed, or after."""

    def __init__(self, crashes: Sequence[tuple[int, bool]]) -> None:
        super().__init__()
        self._crashes = dict(crashes)
        self._calls = 0

    def commit(self, events: Sequence[Event], cursor: bytes) -> None:
        self._calls += 1
        after = self._crashes.get(self._calls)
        if after is False:
            raise UnavailableError("Kafka", "gone before the commit")
        super().commit(events, cursor)
        if after:
            raise UnavailableError("Kafka", "gone after the commit")


def transform(event: Event) -> Event | Rejected | Skipped:
    number = int(event.id) % 7
    return Rejected(f"reason {number}") if number == 3 else Skipped("not needed") if number == 5 else event


def run_to_the_end(events: Sequence[Event], sink: MemorySink, piece: int, chunk_bytes: int) -> Outcome:
    while True:
        pump = Pump(
            ListSource(events, piece), sink, parking_topic="parked", transform=each(transform), chunk_bytes=chunk_bytes
        )
        try:
            return pump.run(sink.start())
        except UnavailableError:
            continue


@given(
    count=st.integers(0, 120),
    piece=st.integers(1, 50),
    chunk_bytes=st.integers(1, 20_000),
    crashes=st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=4),
)
def test_crashes_at_any_commit_change_nothing(count, piece, chunk_bytes, crashes):
    events = make_events(count)
    sink = Crashing(crashes)
    outcome = run_to_the_end(events, sink, piece, chunk_bytes)
    calm = MemorySink()
    expected = run_to_the_end(events, calm, 10, 1 << 20)
    assert sink.published == calm.published
    assert outcome.balanced
    assert outcome.read == count
    assert (outcome.published, outcome.skipped, outcome.parked) == (
        expected.published,
        expected.skipped,
        expected.parked,
    )
    assert outcome.evidence == expected.evidence


events_lists = st.lists(
    st.builds(
        Event,
        id=st.text(max_size=5),
        topic=st.sampled_from(["a", "b"]),
        key=st.none() | st.binary(max_size=5),
        value=st.none() | st.binary(max_size=20),
        headers=st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=3)), max_size=3),
        timestamp=st.integers(0, 2**45),
        origin=st.text(max_size=8),
    ),
    max_size=20,
)


def evidence_of(events: Sequence[Event]) -> dict[str, Evidence]:
    tally = Tally()
    tally.add(events)
    return tally.topics()


@given(events_lists, st.randoms(), st.integers(0, 20))
def test_evidence_does_not_depend_on_order_or_on_where_chunks_end(events, random, cut):
    shuffled = list(events)
    random.shuffle(shuffled)
    assert evidence_of(shuffled) == evidence_of(events)
    parts = [evidence_of(events[:cut]), evidence_of(events[cut:])]
    for topic, whole in evidence_of(events).items():
        assert parts[0].get(topic, Evidence()) + parts[1].get(topic, Evidence()) == whole


@given(events_lists.filter(bool), st.data())
def test_evidence_tells_every_change_apart(events, data):
    at = data.draw(st.integers(0, len(events) - 1))
    event = events[at]
    changed = data.draw(
        st.sampled_from(
            [
                Event(
                    event.id, event.topic, b"other key", event.value, event.headers, event.timestamp, None, event.origin
                ),
                Event(event.id, event.topic, event.key, b"x" * 21, event.headers, event.timestamp, None, event.origin),
                Event(event.id, event.topic, event.key, event.value, event.headers, event.timestamp, None, "elsewhere"),
                Event(
                    event.id,
                    event.topic,
                    event.key,
                    event.value,
                    event.headers,
                    event.timestamp + 1,
                    None,
                    event.origin,
                ),
                Event(
                    event.id,
                    event.topic,
                    event.key,
                    event.value,
                    [*event.headers, ("x", None)],
                    event.timestamp,
                    None,
                    event.origin,
                ),
            ]
        )
    )
    assert evidence_of([*events[:at], changed, *events[at + 1 :]]) != evidence_of(events)


@given(
    st.none() | st.binary(max_size=50),
    st.dictionaries(st.text(max_size=5), st.integers(0, 2**40), max_size=5),
    st.integers(0, 2**63),
)
def test_a_checkpoint_reads_back_as_it_was_written(source, reasons, count):
    checkpoint = Checkpoint(
        operation="op",
        source=source,
        read=count,
        skipped=reasons,
        topics={"a": Evidence(count, b"\xff" * 16, 2**64 - 1, (0, 5, 2**62))},
    )
    assert Checkpoint.decode(checkpoint.encode(), "op") == checkpoint
