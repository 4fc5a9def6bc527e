"""From the event loop to the SDK's producer, whose calls may wait, and back when events are acknowledged.

Both ways take many requests at once: each change from one thread to another costs milliseconds in a process that is
busy, since only one of them can run.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from redrive.complaints import Complaints
from redrive.errors import BackPressureError, InvalidEventError, InvalidKeyError, PublishError, RedriveError
from redrive.gateway.cloud_events import PartnerEvent
from redrive.gateway.handing_over import HandingOver, Outcome, Request, crowded
from redrive.gateway.json_values import converter
from redrive.gateway.metrics import EVENTS
from redrive.gateway.problems import Problem, invalid_event, unacknowledged, unavailable
from redrive.gateway.wording import for_senders_of_json
from redrive.producer import EventProducer
from redrive.receipts import Receipt

log = logging.getLogger(__name__)


class Publisher:
    """Publishes partners' events. For one event loop.

    Args:
        producer: what they are published with.
        clusters: all topics that they may go to, and the cluster of each.
    """

    def __init__(self, producer: EventProducer, clusters: Mapping[str, str]) -> None:
        self._producer = producer
        self._converters = {topic: converter(producer.schema(topic)) for topic in clusters}
        ways = {name: HandingOver(name, self._begin, self._give_up) for name in sorted(set(clusters.values()))}
        self._ways = {topic: ways[cluster] for topic, cluster in clusters.items()}
        self._loop = asyncio.get_running_loop()
        self._new: list[Request] = []
        self._lock = threading.Lock()
        self._settled: list[Request] = []
        self._complaints = Complaints(log)

    def publish(self, topic: str, events: Sequence[PartnerEvent]) -> asyncio.Future[list[Outcome]]:
        """Publish events in their order; the future tells for each what is wrong, or None once it is acknowledged."""
        request = Request(topic, events, self._loop.create_future())
        if not self._new:
            # By then, all that has arrived meanwhile is here, too.
            self._loop.call_soon(self._hand_over)
        self._new.append(request)
        return request.done

    def close(self, seconds: float) -> None:
        """Give up what is not begun, and wait, so long at most, for what is being handed to the producer."""
        ways = set(self._ways.values())
        for way in ways:
            way.end()
        until = time.monotonic() + seconds
        for way in ways:
            if not way.join(max(0.0, until - time.monotonic())):
                log.warning("events that are being handed over are left to the end of the producer")

    def _hand_over(self) -> None:
        new, self._new = self._new, []
        for request in new:
            self._ways[request.topic].put(request)

    def _begin(self, request: Request) -> None:
        topic, convert = request.topic, self._converters[request.topic]
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
                problem = self._problem(topic, error)
                full = problem if isinstance(error, BackPressureError) else None
                self._settle(request, number, problem)
            else:
                receipt.add_done_callback(partial(self._heard, request, number))

    def _give_up(self, request: Request, why: Problem) -> None:
        self._complaints.say(("given up", request.topic), "events for %s are refused: %s", request.topic, why.detail)
        for number in range(len(request.events)):
            self._settle(request, number, why)

    def _heard(self, request: Request, number: int, receipt: Receipt) -> None:
        """Take what has become of an event; called by threads of the producer."""
        try:
            receipt.result(0)
        except PublishError as error:
            self._settle(request, number, self._problem(request.topic, error))
        else:
            EVENTS.labels(receipt.path).inc()
            if receipt.path == "dead_letter":
                self._tell_refused(request.topic, request.events[number], receipt)
            self._settle(request, number, None)

    def _tell_refused(self, topic: str, event: PartnerEvent, receipt: Receipt) -> None:
        """Log that Kafka has refused what its sender takes for delivered."""
        self._complaints.say(
            ("refused", topic),
            # The reason is Kafka's, or librdkafka's, own text, which knows nothing of values. An id is its sender's.
            "Kafka refuses event %a for %s (%s); its dead letter goes to %s, and its sender was answered that it is "
            "safe. Mend what the reason names (see `redrive security acls gateway --name %s`), then `redrive run "
            "dlq-correction`",
            event.event_id,
            topic,
            receipt.refusal,
            receipt.event.topic,
            receipt.event.topic.removeprefix("dlq."),
        )

    def _settle(self, request: Request, number: int, outcome: Outcome) -> None:
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

    def _problem(self, topic: str, error: Exception) -> Problem:
        """Say to a partner what it may know of an error; the rest is for the log."""
        match error:
            case InvalidKeyError():
                return invalid_event("partitionkey", error.reason)
            case InvalidEventError():
                # Fields of the data begin below it; an index or a key in brackets follows it directly.
                join = "" if not error.field or error.field.startswith("[") else "."
                return invalid_event(f"data{join}{error.field}", for_senders_of_json(error.reason))
            case RecursionError():
                return invalid_event("data", "is nested too deeply")
            case BackPressureError():
                self._complain(topic, str(error))
                return crowded()
            case PublishError():
                self._complain(topic, error.reason)
                return unacknowledged()
            case RedriveError():
                self._complain(topic, str(error))
            case _:
                self._complain(topic, f"an unexpected {type(error).__name__}")
        return unavailable("events can't be taken now; try again later")

    def _complain(self, topic: str, reason: str) -> None:
        self._complaints.say(("unsafe", topic), "events for %s can't be made safe: %s", topic, reason)
