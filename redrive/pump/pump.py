"""The pump: from a source, through a transform, into a sink; exactly once, at the governor's pace.

One transaction carries several of the source's chunks: as many as make it cheap (``chunk_bytes``), as few as keep it
short (``chunk_seconds``), since an open transaction holds back every read-committed reader of its partitions. So all is
read, transformed and summed up before a transaction begins, and how long one stayed open decides how large the next is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from redrive.columnar.events import EventColumns, Joined
from redrive.errors import OvertakenError, RefusedError, UnparkableError
from redrive.events import Event, Headers
from redrive.pump.checkpoint import Checkpoint, add_reasons
from redrive.pump.collecting import collecting_seldom
from redrive.pump.evidence import Evidence, Tally
from redrive.pump.governor import Governor
from redrive.pump.model import Chunk, Rejected, Sink, Skipped, Source, Transform, Transformed
from redrive.pump.prefetch import prefetched

REASON_HEADER = "redrive-reason"
TOPIC_HEADER = "redrive-topic"

OVERTAKEN = "newer events of the same keys keep coming: it goes on with fewer at a time"
"""Why nothing moves while transactions are written for nothing."""

CHUNK_BYTES = 8 << 20
CHUNK_SECONDS = 1.0

_FIRST_BYTES = 2 << 20  # the first transactions of a run show what the cluster takes
_LEAST_BYTES = 64 << 10
_REPORT_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a unit stands; totals cover all runs of the operation.

    Attributes:
        read: events that came out of the source.
        published: events that went to their topics.
        skipped: events that need not go on.
        parked: events that went to the parking topic.
        rate: events read a second, in the last seconds.
        seconds_left: at this rate; None if the total is not known or nothing moves.
        held_by: why nothing moves at present; empty if something does.
        transaction_seconds: how long the last transaction was open.
    """

    read: int
    published: int
    skipped: int
    parked: int
    rate: float
    seconds_left: float | None
    held_by: str
    transaction_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of every event; totals cover all runs of the operation.

    Attributes:
        read: events that came out of the source, with those it passed over itself.
        published: events that went to their topics.
        skipped: reason → events that need not go on.
        parked: reason → events that went to the parking topic.
        size: bytes of keys, values and headers that were published or parked.
        seconds: time that all runs took together.
        evidence: topic → what a read-back must find there; the parking topic included.
        cursor: what the sink's next ``start`` returns, unless another run comes in between.
        longest_transaction: seconds that the longest transaction of this run was open.
    """

    read: int
    published: int
    skipped: dict[str, int]
    parked: dict[str, int]
    size: int
    seconds: float
    evidence: dict[str, Evidence]
    cursor: bytes | None
    longest_transaction: float

    @property
    def balanced(self) -> bool:
        """Whether every event that was read ended in exactly one way."""
        return self.read == self.published + sum(self.skipped.values()) + sum(self.parked.values())


@dataclass(slots=True)
class _Batch:
    """What goes into the next transaction. Of pieces of the source only their cursors: events as they were may go."""

    since: float
    cursors: list[bytes] = field(default_factory=list)
    events: Joined = field(default_factory=Joined)
    tally: Tally = field(default_factory=Tally)
    read: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    parked: dict[str, int] = field(default_factory=dict)


class Pump:
    """Moves one unit's events; see the module's docstring. For one thread, except that ``governor`` may be shared."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        *,
        parking_topic: str,
        parking_headers: Headers | None = None,
        operation: str = "",
        transform: Transform | None = None,
        governor: Governor | None = None,
        chunk_bytes: int = CHUNK_BYTES,
        chunk_seconds: float = CHUNK_SECONDS,
        prefetch: int = 0,
        positions: Callable[[str], Sequence[int]] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_refused: Callable[[int], None] = lambda _: None,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Put a pump together; nothing moves before `run`.

        Args:
            source: where events come from. Its next chunk may be asked for before the last one is committed; a source
                that has to know that all is committed ends there, and `run` is called again.
            sink: where they go; started by the caller.
            parking_topic: where rejected events go, as they came, with headers that say why.
            parking_headers: further headers of theirs.
            operation: totals and evidence are kept for it; another one starts counting anew, from the same cursor.
            transform: says what becomes of events; None publishes them as they are.
            governor: the pace; None is full speed.
            chunk_bytes: the most that goes into one transaction; a single larger piece of the source still does. It
                takes about six times that in memory, in Python and in librdkafka.
            chunk_seconds: how long events may wait for their transaction, and the most it should stay open.
            prefetch: how many transactions to prepare ahead, in a thread that reads and transforms while this one waits
                for brokers; 0 does all in this thread. Memory grows by so many chunks.
            positions: where each partition of a topic ends now (`TransactionalSink.positions`): kept as the place
                where a read-back begins. None leaves that out.
            on_progress: called at most once a second, and at the end.
            on_refused: called with how many events of a transaction brokers have refused, before they are parked; what
                it raises leaves them where they are.
            total: events that the operation will read, if known.
            clock: seconds; for tests.
        """
        self._source, self._sink = source, sink
        self._parking_topic, self._parking_headers = parking_topic, parking_headers or []
        self._operation = operation
        self._transform = transform
        self._governor = governor or Governor()
        self._chunk_bytes, self._chunk_seconds = chunk_bytes, chunk_seconds
        self._budget = min(_FIRST_BYTES, chunk_bytes)
        self._prefetch = prefetch
        self._positions = positions
        self._on_progress, self._on_refused = on_progress, on_refused
        self._total = total
        self._clock = clock
        self._state = Checkpoint(operation=operation)
        self._cursor: bytes | None = None
        self._began_at = self._saved_at = clock()
        self._reported_at = float("-inf")
        self._reported_read = 0
        self._rate = 0.0
        self._last_transaction = self._longest_transaction = 0.0

    @property
    def outcome(self) -> Outcome:
        """What has been committed so far; also after `run` has raised."""
        state = self._state
        return Outcome(
            read=state.read,
            published=state.published,
            skipped=state.skipped,
            parked=state.parked,
            size=state.size,
            seconds=state.seconds + self._last_transaction,
            evidence=state.topics,
            cursor=self._cursor,
            longest_transaction=self._longest_transaction,
        )

    def run(self, cursor: bytes | None) -> Outcome:
        """Move everything from the cursor on to the end of the source.

        Args:
            cursor: what the sink's ``start`` returned, or the cursor of the last outcome.

        Raises:
            StoppedError: the governor was stopped; everything up to `outcome` is committed.
            FencedError: a newer copy of this unit has started.
            UnavailableError: a system does not answer; start the unit again later.
            UnparkableError: an event fits neither its topic nor the parking topic.
            CheckpointError: the cursor is not one of this version's.
        """
        self._state = Checkpoint.decode(cursor, self._operation)
        self._cursor = cursor
        self._reported_read = self._state.read
        batches = self._batches(self._state.source)
        if self._prefetch:
            batches = prefetched(batches, self._prefetch)
        with collecting_seldom(), closing(batches):
            for batch in batches:
                self._commit(batch)
        self._report(final=True)
        return self.outcome

    def _batches(self, cursor: bytes | None) -> Generator[_Batch, None, None]:
        """Put the source's pieces together to transactions, transformed and summed up."""
        governor, clock = self._governor, self._clock
        batch = _Batch(since=clock())
        for piece, events in self._transformed(self._source.chunks(cursor)):
            governor.check()
            if not batch.cursors:
                batch.since = clock()
            self._take(piece, events, batch)
            if (
                batch.tally.size >= self._budget
                or clock() - batch.since >= self._chunk_seconds
                or len(batch.events) >= governor.share(self._chunk_seconds)
            ):
                yield batch
                batch = _Batch(since=clock())
        if batch.cursors:
            yield batch

    def _transformed(self, pieces: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
        if self._transform is None:
            return ((piece, piece.events) for piece in pieces)
        return self._transform(pieces)

    def _take(self, piece: Chunk, became: Sequence[Transformed], batch: _Batch) -> None:
        """Add a piece of the source to what the next transaction will carry."""
        batch.cursors.append(piece.cursor)
        batch.read += len(piece.events)
        if piece.skipped:
            batch.read += sum(piece.skipped.values())
            batch.skipped = add_reasons(batch.skipped, piece.skipped)
        if self._transform is None:
            events = piece.events
        elif isinstance(became, EventColumns):
            events = became
        else:
            events = self._sorted(piece.events, became, batch)
        batch.tally.add(events)
        batch.events.add(events)

    def _sorted(self, events: Sequence[Event], became: Sequence[Transformed], batch: _Batch) -> list[Event]:
        result: list[Event] = []
        for event, now in zip(events, became, strict=True):
            if isinstance(now, Event):
                result.append(now)
            elif isinstance(now, Rejected):
                result.append(self._parked(event, now.reason, batch))
            else:
                batch.skipped = add_reasons(batch.skipped, {now.reason: 1})
        return result

    def _parked(self, event: Event, reason: str, batch: _Batch) -> Event:
        batch.parked = add_reasons(batch.parked, {reason: 1})
        why = (TOPIC_HEADER, event.topic.encode()), (REASON_HEADER, reason.encode())
        headers = [*event.headers, *self._parking_headers, *why]
        return Event(
            id=event.id,
            topic=self._parking_topic,
            key=event.key,
            value=event.value,
            headers=headers,
            timestamp=event.timestamp,
            origin=event.origin,
        )

    def _commit(self, batch: _Batch) -> None:
        if not batch.read and batch.cursors[-1] == self._state.source:
            self._report()
            return  # a source that waits for more
        done, share = 0, len(batch.events)
        overtaken = False
        while True:
            events = batch.events[done : done + share]
            last = done + share >= len(batch.events)
            self._governor.admit(len(events), self._report)
            after = self._after(batch)
            # Ahead of the others, events go out under the old cursor. After a crash they come again, and a sink that
            # has events overtaken knows those as well: theirs are the newest of their keys.
            cursor = after.encode() if last or self._cursor is None else self._cursor
            began = self._clock()
            try:
                self._sink.commit(events, cursor)
                if last:
                    break
                done += share
            except RefusedError as error:
                self._budget = _LEAST_BYTES  # refusals cost several transactions each: cheap ones, please
                self._on_refused(len(error.refused))
                self._park_refused({done + index: reason for index, reason in error.refused.items()}, batch)
            except OvertakenError as error:
                self._change({done + index: now for index, now in error.changed.items()}, batch)
                if error.aborted:  # newer events keep coming: less at a time, for a shorter time
                    overtaken = True
                    self._report(held_by=OVERTAKEN)
                    self._budget = max(_LEAST_BYTES, self._budget // 2)
                    if self._cursor is not None:
                        share = max(1, share // 2)
        took = self._clock() - began
        self._state, self._cursor = after, cursor
        self._saved_at = began  # what the transaction took is in the next checkpoint
        for end in batch.cursors:
            self._source.committed(end)
        self._last_transaction = took
        self._longest_transaction = max(self._longest_transaction, took)
        if not overtaken:
            self._adapt(took)
        self._report()

    def _after(self, batch: _Batch) -> Checkpoint:
        """Return the state that the transaction will leave."""
        before = self._state
        topics = dict(before.topics)
        for topic, evidence in batch.tally.topics().items():
            so_far = topics.get(topic)
            if so_far is None:
                so_far = Evidence(start=tuple(self._positions(topic)) if self._positions is not None else ())
            topics[topic] = so_far + evidence
        parked = sum(batch.parked.values())
        return Checkpoint(
            operation=self._operation,
            source=batch.cursors[-1],
            read=before.read + batch.read,
            published=before.published + len(batch.events) - parked,
            skipped=add_reasons(before.skipped, batch.skipped),
            parked=add_reasons(before.parked, batch.parked),
            size=before.size + batch.tally.size,
            seconds=before.seconds + self._clock() - self._saved_at,
            topics=topics,
        )

    def _park_refused(self, refused: dict[int, str], batch: _Batch) -> None:
        events = [*batch.events]
        for index, reason in refused.items():
            event = events[index]
            if event.topic == self._parking_topic:
                raise UnparkableError(event.id, event.origin, event.topic, reason)
            events[index] = self._parked(event, reason, batch)
        batch.events = Joined(events)
        batch.tally = Tally()
        batch.tally.add(events)

    def _change(self, changed: Mapping[int, Event | Skipped], batch: _Batch) -> None:
        events: list[Event] = []
        for index, event in enumerate(batch.events):
            now = changed.get(index, event)
            if isinstance(now, Event):
                events.append(now)
            else:
                batch.skipped = add_reasons(batch.skipped, {now.reason: 1})
        batch.events = Joined(events)
        batch.tally = Tally()
        batch.tally.add(events)

    def _adapt(self, took: float) -> None:
        """Make the next transaction shorter if this one was open for too long, larger if it was short."""
        if took > self._chunk_seconds:
            self._budget = max(_LEAST_BYTES, self._budget // 2)
        elif took < self._chunk_seconds / 2:
            self._budget = min(self._chunk_bytes, self._budget * 2)

    def _report(self, *, final: bool = False, held_by: str = "") -> None:
        if self._on_progress is None:
            return
        now = self._clock()
        since = now - self._reported_at
        if since < _REPORT_EVERY and not final:
            return
        state = self._state
        if since not in (0.0, float("inf")):
            rate = (state.read - self._reported_read) / since
            self._rate = rate if self._rate == 0.0 else (self._rate + rate) / 2
        self._reported_at, self._reported_read = now, state.read
        left = None
        if self._total is not None and self._rate > 0:
            left = max(0, self._total - state.read) / self._rate
        self._on_progress(
            Progress(
                read=state.read,
                published=state.published,
                skipped=sum(state.skipped.values()),
                parked=sum(state.parked.values()),
                rate=self._rate,
                seconds_left=left,
                held_by=self._governor.held_by or held_by,
                transaction_seconds=self._last_transaction,
            )
        )
