"""A producer's side of one lane: enter an epoch, store batches in its own stream, learn that the lane is open again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from redrive.standby.batches import Stored, pack
from redrive.standby.lanes import DIVERT, SEAL, Gate, Lane, LaneLog, LaneState
from redrive.standby.log import SealedError, StreamLog, new_token, seal
from redrive.standby.store import Slot, Store


class Clock(Protocol):
    """Time, as the protocol needs it; `SystemClock` but for the explorer of interleavings."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def now_ms(self) -> int:
        """Return milliseconds since 1970, as far as this machine knows."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)


class Entry(Enum):
    """Where a producer stands after asking to enter a lane's epoch."""

    MAIN = "the lane is open: use Kafka"
    STANDBY = "inside an epoch: store"
    SEALED = "the lane is about to open: ask again soon"


class LaneWriter:
    """Runs the producer's half of the protocol on one lane. One thread at a time.

    Attributes:
        acknowledge_at: the monotonic time from which what was stored in this epoch may be acknowledged.
        state: the lane's newest state that `enter` has read or written.

    Args:
        store: the standby table.
        lane: which lane.
        producer: this instance's name: unique for ever, since a stream has one writer.
        clock: time.
        grace: seconds between entering an epoch and the first acknowledgement in it: by then every producer's view
            of the gate has either seen the divert or is older than it may be.
        seal_wait: seconds to wait for a sealed lane to open before starting the next epoch.
    """

    def __init__(
        self, store: Store, lane: Lane, producer: str, *, clock: Clock, grace: float, seal_wait: float
    ) -> None:
        self.lane = lane
        self.producer = producer
        self._store = store
        self._log = LaneLog(store, lane)
        self._gate = Gate(store, lane.cluster)
        self._clock = clock
        self._grace = grace
        self._seal_wait = seal_wait
        self._stream: StreamLog | None = None
        self._sealed_since: float | None = None
        self.acknowledge_at = 0.0
        self.state = LaneState()
        self._batch: tuple[Sequence[Stored], list[Slot]] | None = None

    @property
    def inside(self) -> bool:
        """Tell whether this producer has a stream that it has not yet found sealed."""
        return self._stream is not None

    def enter(self, *, must_divert: bool) -> Entry:
        """Join the lane's epoch, or start one. Never waits: while a sealed lane may still open, ask again soon.

        Args:
            must_divert: True if Kafka won't do: it is down, or some of the events may be in it already.

        Raises:
            UnavailableError: the store does not answer; call again.
        """
        while True:
            state = self.state = self._log.state()
            if state.kind != SEAL:
                self._sealed_since = None
            if state.is_main and not must_divert:
                return Entry.MAIN
            if state.kind == SEAL:
                now = self._clock.monotonic()
                if self._sealed_since is None:
                    self._sealed_since = now
                if now - self._sealed_since < self._seal_wait:
                    return Entry.SEALED
                self._help(state)
            if self._divert(state):
                return Entry.STANDBY

    def store(self, batch: Sequence[Stored]) -> bool:
        """Store one batch; False if the stream is sealed and nothing of the batch counts.

        The events may be acknowledged once `acknowledge_at` has come.

        Raises:
            UnavailableError: no answer; call again with the very same batch: it may be stored already.
        """
        assert self._stream is not None, "enter() first"
        if self._batch is None or self._batch[0] is not batch:
            self._batch = (batch, pack(batch, new_token(self.producer)))
        slots = self._batch[1]
        try:
            while slots:
                self._stream.append(slots[0])
                del slots[0]
        except SealedError:
            self._stream = self._batch = None
            return False
        self._batch = None
        return True

    def _divert(self, state: LaneState) -> bool:
        """Append my ``divert`` after ``state``; False if the lane's log has moved on."""
        epoch = state.epoch if state.kind == DIVERT else state.epoch + 1
        if not self._log.extend(state, DIVERT, epoch, self.producer):
            return False
        self.state = LaneState(state.slot + 1, DIVERT, epoch)
        self._sealed_since = None  # the next seal gets all of its time again, or the lane would never open
        self._gate.bump()
        self.acknowledge_at = self._clock.monotonic() + self._grace
        self._stream = StreamLog(self._store, self.lane.stream(epoch, self.producer))
        return True

    def _help(self, state: LaneState) -> None:
        """Seal what is still open of a sealed epoch, so that nothing can be added to it once the next one begins.

        Without this, an event accepted later into an old stream would overtake one acknowledged in the new epoch.
        """
        for producer in self._log.producers(state.epoch):
            seal(self._store, self.lane.stream(state.epoch, producer), self.producer)
