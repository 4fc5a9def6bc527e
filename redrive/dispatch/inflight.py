"""What is in Kafka's hands: every event that was sent and is not settled yet, in the order in which it was sent."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator

from redrive.dispatch.mainpath import MainPath
from redrive.receipts import Progress, Receipt
from redrive.standby.writer import Clock

log = logging.getLogger(__name__)

_WAITING = Progress.WAITING
_ACKNOWLEDGED = Progress.ACKNOWLEDGED
_UNCONFIRMED = (Progress.WAITING, Progress.TAKEN_BACK)

_FULL_PATIENCE = 1.0
"""Seconds that an event may wait for room in librdkafka's queue, which is larger than what may be unacknowledged."""

_PURGE_PATIENCE = 30.0
"""Seconds that librdkafka gets to report on what was purged."""


class InFlight:
    """The queue behind the main path. Called under the dispatcher's lock.

    Attributes:
        down: Kafka did not confirm, and has not answered since: nothing is sent to it.
    """

    def __init__(self, main: MainPath, clock: Clock) -> None:
        self.down = False
        self._main = main
        self._clock = clock
        self._sent: deque[Receipt] = deque()

    def __iter__(self) -> Iterator[Receipt]:
        return iter(self._sent)

    def send(self, receipt: Receipt) -> None:
        """Hand one event to Kafka's client."""
        # It counts as sent before it is: whatever interrupts this, it is confirmed, or taken back.
        self._sent.append(receipt)
        if self._main.fatal:  # nothing may get through behind what this client has not taken
            receipt.progress = Progress.TAKEN_BACK
            return
        while True:
            try:
                self._main.send(receipt)
                return
            except BufferError:
                if self.waiting_for(self._clock.monotonic()) > _FULL_PATIENCE:
                    # Nobody waits any longer for a client whose queue stays full: all of it is taken back.
                    receipt.progress = Progress.TAKEN_BACK
                    self._main.fatal = True
                    return
                self._main.poll(0.05)

    def waiting_for(self, now: float) -> float:
        """Return for how many seconds the oldest event has been waiting to be confirmed; 0 if there is none."""
        return now - max(self._sent[0].published, self._sent[0].sent) if self._sent else 0.0

    def settled(self) -> list[Receipt]:
        """Take what Kafka has reported on from the front; what comes later waits for its turn."""
        sent = self._sent
        done: list[Receipt] = []
        while sent and sent[0].progress is not _WAITING and sent[0].progress is not Progress.TAKEN_BACK:
            done.append(sent.popleft())
        if done:
            self._main.all_down = False
        return done

    @property
    def came_back(self) -> bool:
        """Tell whether the oldest event came back unasked for, as from a producer that has failed."""
        return bool(self._sent) and self._sent[0].progress is Progress.TAKEN_BACK

    def confirmed(self) -> list[Receipt]:
        """Take what Kafka has confirmed behind an event that it has not, as of a partition without a leader."""
        confirmed = [receipt for receipt in self._sent if receipt.progress is _ACKNOWLEDGED]
        self._sent = deque(receipt for receipt in self._sent if receipt.progress is not _ACKNOWLEDGED)
        return confirmed

    def any_came_back(self) -> bool:
        """Tell whether any event came back unasked for, behind others that wait."""
        return any(receipt.progress is Progress.TAKEN_BACK for receipt in self._sent)

    def take_back(self) -> tuple[list[Receipt], list[Receipt]]:
        """Cut through everything that Kafka has not confirmed.

        Returns:
            what was taken back, in order, each marked as doubtful; and what has turned out to be settled.
        """
        self.down = True
        self._main.purge()
        patience = self._clock.monotonic() + _PURGE_PATIENCE
        while any(receipt.progress is _WAITING for receipt in self._sent):
            if self._clock.monotonic() > patience:
                log.error(
                    "librdkafka has not reported on purged messages for %g s; they count as taken back", _PURGE_PATIENCE
                )
                self._main.fatal = True
                break
            self._main.poll(0.01)
        taken = [receipt for receipt in self._sent if receipt.progress in _UNCONFIRMED]
        settled = [receipt for receipt in self._sent if receipt.progress not in _UNCONFIRMED]
        if self._main.fatal:
            self._main.renew()  # before anything is let go: it may fail, and be tried again
        self._sent.clear()
        for receipt in taken:
            receipt.progress = _WAITING
            receipt.doubtful = True
        return taken, settled

    def clear(self) -> list[Receipt]:
        """Let go of everything."""
        left = list(self._sent)
        self._sent.clear()
        return left
