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

Each of a job's transactions is a span, ``redrive.pump.transaction``, with its unit and how many events it carries.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import metrics, trace

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
    with _tracer.start_as_current_span("redrive.pump.transaction") as span:
        if span.is_recording():
            span.set_attributes({**about, "redrive.unit": unit, "messaging.batch.message_count": events})
        began = time.monotonic()
        yield
        _open.record(time.monotonic() - began, about)
        _pumped.add(events, about)
