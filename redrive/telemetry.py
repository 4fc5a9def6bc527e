"""Metrics and traces, by OpenTelemetry's API: nothing at all, unless the program around it sets up OpenTelemetry's SDK.

The usual way is ``opentelemetry-instrument``, with the variables ``OTEL_…``, before a program: a worker, a gateway, one
that publishes. Names follow OpenTelemetry's conventions; the attributes are few: events, keys and ids are none.

=============================  =========  ======================================================================
metric                         unit       what
=============================  =========  ======================================================================
``redrive.producer.events``    {event}    acknowledged, by ``redrive.producer`` and ``redrive.path`` (``main``,
                                          ``standby``, ``dead_letter``), or ``failed``
``redrive.consumer.events``    {event}    by ``redrive.group`` and ``redrive.outcome`` (``handled``, ``duplicates``,
                                          ``dead_lettered``, ``retried``)
``redrive.pump.events``        {event}    committed by a job, by ``redrive.job`` and ``redrive.cluster``
``redrive.pump.transaction``   s          how long a job's transactions were open, by the same
=============================  =========  ======================================================================

Spans: each of a job's transactions (``redrive.pump.transaction``), each request to a gateway
(``redrive.gateway.request``), each event from where it is published to its acknowledgement (``redrive.publish``), and
each call of a consumer's handler (``redrive.handle``). A trace does not cross Kafka: events get no header for it. What
is a span for each event costs as much as other instrumentation does; `OTEL_TRACES_SAMPLER` takes some of them only.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from redrive.receipts import Receipt

_meter = metrics.get_meter("redrive")
_tracer = trace.get_tracer("redrive")
_pumped = _meter.create_counter("redrive.pump.events", "{event}", "events that a job has committed")
_open = _meter.create_histogram("redrive.pump.transaction", "s", "how long a job's transactions were open")

Counts = Callable[[], Mapping[str, int]]


class _Observed:
    """What producers, or consumers, have counted themselves: asked for when somebody exports it.

    Sums outlive those who have counted, since a counter must not fall.
    """

    def __init__(self, metric: str, about: str, owner: str, outcome: str) -> None:
        self._owner, self._outcome = owner, outcome
        self._changing = threading.Lock()
        self._living: dict[object, tuple[str, Counts]] = {}
        self._ended: Counter[tuple[str, str]] = Counter()
        _meter.create_observable_counter(metric, [self._observe], "{event}", about)

    def add(self, name: str, counts: Counts) -> Callable[[], None]:
        """Take somebody in; what is returned keeps its sums and lets it go (and does nothing the second time)."""
        key = object()
        with self._changing:
            self._living[key] = name, counts

        def end() -> None:
            with self._changing:
                if key in self._living:
                    del self._living[key]
                    self._ended.update({(name, outcome): count for outcome, count in counts().items()})

        return end

    def _observe(self, _options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        with self._changing:
            sums = Counter(self._ended)
            for name, counts in self._living.values():
                sums.update({(name, outcome): count for outcome, count in counts().items()})
        for (name, outcome), count in sums.items():
            yield metrics.Observation(count, {self._owner: name, self._outcome: outcome})


producers = _Observed("redrive.producer.events", "events by the path they took", "redrive.producer", "redrive.path")
consumers = _Observed("redrive.consumer.events", "events by their outcome", "redrive.group", "redrive.outcome")


@contextmanager
def transaction(unit: str, events: int) -> Iterator[None]:
    """Tell of a job's transaction; counts its events if it ends well.

    Args:
        unit: the pump's unit of work, such as ``standby/local/orders.created/3``: job, cluster, and what of it.
        events: how many it carries.
    """
    job, cluster = (*unit.split("/", 2), "")[:2]
    about = {"redrive.job": job, "redrive.cluster": cluster}
    told: dict[str, str | int] = {**about, "redrive.unit": unit, "messaging.batch.message_count": events}
    with _span("redrive.pump.transaction", SpanKind.INTERNAL, told):
        began = time.monotonic()
        yield
        _open.record(time.monotonic() - began, about)
        _pumped.add(events, about)


def is_tracing() -> bool:
    """Say whether a tracer is set up. Asked once, at the start: what there is for each event asks no more."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider | trace.NoOpTracerProvider)


def published(receipt: Receipt, producer: str) -> None:
    """Tell of an event that was handed over just now, until it is acknowledged or has failed."""
    event = receipt.event
    span = _tracer.start_span(
        "redrive.publish",
        kind=SpanKind.PRODUCER,
        attributes={
            "redrive.producer": producer,
            "messaging.system": "kafka",
            "messaging.destination.name": event.topic,
        },
        start_time=event.timestamp * 1_000_000,
    )
    if not span.is_recording():
        return

    def end(receipt: Receipt) -> None:
        span.set_attribute("redrive.path", receipt.path)
        if receipt.failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    receipt.add_done_callback(end)


@contextmanager
def handling(group: str, topic: str) -> Iterator[None]:
    """Tell of a call of a consumer's handler."""
    with _span("redrive.handle", SpanKind.CONSUMER, {"redrive.group": group, **_place(topic)}):
        yield


@contextmanager
def request(about: Callable[[], Mapping[str, str | int]]) -> Iterator[None]:
    """Tell of a request to the gateway; ``about`` gives its attributes once it is answered."""
    with _span("redrive.gateway.request", SpanKind.SERVER, {}) as span:
        try:
            yield
        finally:
            given = dict(about())
            span.set_attributes(given)
            if int(given["http.response.status_code"]) >= 500:
                span.set_status(Status(StatusCode.ERROR))


def _place(topic: str) -> dict[str, str]:
    return {"messaging.system": "kafka", "messaging.destination.name": topic}


@contextmanager
def _span(name: str, kind: SpanKind, about: Mapping[str, str | int]) -> Iterator[trace.Span]:
    """Be within a span; of what ends it before its end, only the type is told: an error's text may quote an event."""
    with _tracer.start_as_current_span(
        name, kind=kind, attributes=about, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:  # also a run that is cancelled
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
