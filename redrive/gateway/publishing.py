"""From the event loop to the SDK's producer, whose calls may wait, and back when events are acknowledged."""

from __future__ import annotations

import asyncio
import logging
import threading
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
"""Requests whose events are checked and handed over at once; a cluster that is slow to take some keeps no others."""

Outcome = Problem | None


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

    async def publish(self, topic: str, events: Sequence[PartnerEvent]) -> list[Outcome]:
        """Publish events in their order; return for each what is wrong, or None once it is acknowledged."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[Outcome]] = loop.create_future()
        loop.run_in_executor(self._pool, partial(self._hand_over, topic, events, loop, done))
        return await done

    def close(self) -> None:
        """Let go of the threads; what they have begun is done."""
        self._pool.shutdown()

    def _hand_over(
        self,
        topic: str,
        events: Sequence[PartnerEvent],
        loop: asyncio.AbstractEventLoop,
        done: asyncio.Future[list[Outcome]],
    ) -> None:
        pending = _Pending(len(events), loop, done)
        convert = self._converters[topic]
        for number, event in enumerate(events):
            try:
                data = convert(event.data) if convert else event.data
                receipt = self._producer.publish(
                    topic, event.key, data, event_id=event.event_id, headers=event.headers, refuse=True
                )
            except Exception as error:  # whatever it is, somebody waits for the answer
                pending.settle(number, _problem(error))
            else:
                receipt.add_done_callback(partial(pending.heard, number))


class _Pending:
    """The events of one request that are not all settled yet."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, done: asyncio.Future[list[Outcome]]) -> None:
        self._outcomes: list[Outcome] = [None] * count
        self._left = count
        self._reason = ""
        self._loop, self._done = loop, done
        self._lock = threading.Lock()

    def heard(self, number: int, receipt: Receipt) -> None:
        """Take what has become of an event; called by threads of the producer."""
        try:
            receipt.result(0)
        except PublishError as error:
            self._reason = error.reason
            self.settle(number, unacknowledged())
        else:
            EVENTS.labels(receipt.path).inc()
            self.settle(number, None)

    def settle(self, number: int, outcome: Outcome) -> None:
        self._outcomes[number] = outcome
        with self._lock:
            self._left -= 1
            if self._left:
                return
        with suppress(RuntimeError):  # the loop has ended, and so has everybody who waited
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self._reason:
            log.warning("a request's events are not all acknowledged: %s", self._reason)
        if not self._done.done():
            self._done.set_result(self._outcomes)


def _problem(error: Exception) -> Problem:
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
            return unacknowledged()
        case RedriveError():
            log.error("an event could not be published: %s", error)
        case _:
            log.error("an event could not be published: an unexpected %s", type(error).__name__)
    return unavailable("events can't be taken now; try again later")
