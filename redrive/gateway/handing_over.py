"""One cluster's way from the event loop to the producer: a queue, and a thread that may wait.

The producer waits for room when a cluster confirms too little. Each cluster has a thread of its own, so that those who
publish to another one never wait behind it; and a bounded queue, so that a cluster that takes nothing fills no memory.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import Empty, SimpleQueue

from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.problems import Problem, unavailable

PATIENCE = 5.0
"""Seconds after which a request that was not begun is given up: surely nothing of it was published."""
MOST_BYTES = 32 << 20
"""What may wait to be begun, as JSON and `PER_EVENT`; a request that finds nothing waiting may have more."""
PER_EVENT = 1_000
"""Bytes that an event counts for beside its JSON."""

Outcome = Problem | None


class Request:
    """The events of one request for one topic, and what has become of them.

    Attributes:
        topic: where they go.
        events: in their order.
        done: told all outcomes, once they are known.
        outcomes: of each event what is wrong with it; None: nothing, or not known yet.
        left: how many outcomes are not known.
        size: bytes that it takes while it waits, roughly.
        context: what surrounds it, such as its span; for the thread that begins it.
    """

    def __init__(self, topic: str, events: Sequence[PartnerEvent], done: asyncio.Future[list[Outcome]]) -> None:
        self.topic, self.events, self.done = topic, events, done
        self.context = copy_context()
        self.outcomes: list[Outcome] = [None] * len(events)
        self.left = len(events)
        self.size = sum(event.size + PER_EVENT for event in events)


class HandingOver:
    """Has requests for one cluster begun in a thread of its own, in the order in which they are put in.

    Args:
        cluster: its name.
        begin: called in the thread with each request; may wait.
        give_up: called instead, in any thread, with one that is not begun, and what its sender is told.
    """

    def __init__(
        self,
        cluster: str,
        begin: Callable[[Request], None],
        give_up: Callable[[Request, Problem], None],
    ) -> None:
        self._begin, self._give_up = begin, give_up
        self._queue: SimpleQueue[tuple[Request, float] | None] = SimpleQueue()
        # How many bytes ever came in and were taken out: each is counted by one thread only, so without a lock.
        self._in = self._out = 0
        self._ended = False
        # Whatever it waits for, it keeps no process from ending.
        self._thread = threading.Thread(target=self._work, name=f"gateway-{cluster}", daemon=True)
        self._thread.start()

    def put(self, request: Request) -> None:
        """Have a request begun, or give it up at once; for one thread, the event loop's."""
        waiting = self._in - self._out
        if self._ended:
            self._give_up(request, _stopping())
        elif waiting and waiting + request.size > MOST_BYTES:
            self._give_up(request, crowded())
        else:
            self._in += request.size
            self._queue.put((request, time.monotonic()))

    def end(self) -> None:
        """Give up all that is not begun; what is begun goes on."""
        self._ended = True
        while True:
            try:
                entry = self._queue.get_nowait()
            except Empty:
                break
            if entry is not None:
                self._give_up(entry[0], _stopping())
        self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Wait so long, at most, until nothing is being begun any more; return whether that is so."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            request, since = entry
            self._out += request.size
            if self._ended:
                self._give_up(request, _stopping())
            elif time.monotonic() - since > PATIENCE:
                self._give_up(request, crowded())
            else:
                request.context.run(self._begin, request)


def crowded() -> Problem:
    """Too much waits for the cluster."""
    return unavailable("too many events wait to be made safe; try again later")


def _stopping() -> Problem:
    return unavailable("this server is about to stop; nothing was published; try again")
