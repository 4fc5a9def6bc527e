"""From the event loop to the SDK's producer, whose calls may wait, and back when events are acknowledged.

Both ways take many requests at once: each change from one thread to another costs milliseconds in a process that is
busy, since only one of them can run.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from redrive.errors import BackPressureError, InvalidEventError, PublishError, RedriveError
from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.json_values import converter
from redrive.gateway.metrics import EVENTS
from redrive.gateway.problems import Problem, invalid_event, unacknowledged, unavailable
from redrive.producer import EventProducer
from redrive.receipts import Receipt

log = logging.getLogger(__name__)

THREADS = 4
"""Topics whose events are checked and handed over at once: a cluster that is slow to take some keeps no others."""

Outcome = Problem | None


class _Request:
    """The events of one request, and what has become of them."""

    def __init__(self, events: Sequence[PartnerEvent], done: asyncio.Future[list[Outcome]]) -> None:
        self.events, self.done = events, done
        self.outcomes: list[Outcome] = [None] * len(events)
        self.left = len(events)


class Publisher:
    """Publishes partners' events. For one event loop.

    Args:
        producer: what they are published with.
        topics: all that they may go to.
    """

    def __init__(self, producer: EventProducer, topics: Iterable[str]) -> None:
        self._producer = producer
        self._converters = {topic: converter(producer.schema(topic)) for topic in topics}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway")
        self._loop = asyncio.get_running_loop()
        self._new: dict[str, list[_Request]] = {}
        self._lock = threading.Lock()
        self._settled: list[_Request] = []
        self._complained = 0.0

    def publish(self, topic: str, events: Sequence[PartnerEvent]) -> asyncio.Future[list[Outcome]]:
        """Publish events in their order; the future tells for each what is wrong, or None once it is acknowledged."""
        request = _Request(events, self._loop.create_future())
        if not self._new:
            # By then, all that has arrived meanwhile is here, too.
            self._loop.call_soon(self._hand_over)
        self._new.setdefault(topic, []).append(request)
        return request.done

    def close(self) -> None:
        """Let go of the threads; what they have begun is done."""
        self._pool.shutdown()

    def _hand_over(self) -> None:
        new, self._new = self._new, {}
        for topic, requests in new.items():
            self._pool.submit(self._publish, topic, requests)

    def _publish(self, topic: str, requests: Sequence[_Request]) -> None:
        convert = self._converters[topic]
        for request in requests:
            full: Problem | None = None
            for number, event in enumerate(request.events):
                if full is not None:  # each of the rest would wait as long, and pass those of its key that did not
                    self._settle(request, number, full)
                    continue
                try:
                    data = convert(event.data) if convert else event.data
                    receipt = self._producer.publish(
                        topic, event.key, data, event_id=event.event_id, headers=event.headers, refuse=True
                    )
                except Exception as error:  # whatever it is, somebody waits for the answer
                    problem = self._problem(error)
                    full = problem if isinstance(error, BackPressureError) else None
                    self._settle(request, number, problem)
                else:
                    receipt.add_done_callback(partial(self._heard, request, number))

    def _heard(self, request: _Request, number: int, receipt: Receipt) -> None:
        """Take what has become of an event; called by threads of the producer."""
        try:
            receipt.result(0)
        except PublishError as error:
            self._settle(request, number, self._problem(error))
        else:
            EVENTS.labels(receipt.path).inc()
            self._settle(request, number, None)

    def _settle(self, request: _Request, number: int, outcome: Outcome) -> None:
        with self._lock:
            request.outcomes[number] = outcome
            request.left -= 1
            if request.left:
                return
            self._settled.append(request)
            if len(self._settled) > 1:
                return  # the loop knows
        with suppress(RuntimeError):  # the loop has ended, and so has everybody who waited
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            settled, self._settled = self._settled, []
        for request in settled:
            if not request.done.done():
                request.done.set_result(request.outcomes)

    def _problem(self, error: Exception) -> Problem:
        """Say to a partner what it may know of an error; the rest is for the log."""
        match error:
            case InvalidEventError(field="key"):
                return invalid_event("partitionkey", error.reason)
            case InvalidEventError():
                # Fields of the data begin below it; an index or a key in brackets follows it directly.
                join = "" if not error.field or error.field.startswith("[") else "."
                return invalid_event(f"data{join}{error.field}", error.reason)
            case RecursionError():
                return invalid_event("data", "is nested too deeply")
            case BackPressureError():
                return unavailable("too many events wait to be made safe; try again later")
            case PublishError():
                self._complain(error.reason)
                return unacknowledged()
            case RedriveError():
                self._complain(str(error))
            case _:
                self._complain(f"an unexpected {type(error).__name__}")
        return unavailable("events can't be taken now; try again later")

    def _complain(self, reason: str) -> None:
        """Log at most once a second: while nothing can be made safe, each event would have a line."""
        now = time.monotonic()
        if now - self._complained > 1:
            self._complained = now
            log.error("events can't be made safe: %s", reason)
