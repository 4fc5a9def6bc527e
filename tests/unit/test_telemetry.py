"""Metrics and traces, as an exporter of OpenTelemetry gets them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from redrive import telemetry


class Exported:
    """What has been exported of metrics and spans; OpenTelemetry can be set up but once a process."""

    def __init__(self) -> None:
        self._metrics, self._spans = InMemoryMetricReader(), InMemorySpanExporter()
        metrics.set_meter_provider(MeterProvider([self._metrics]))
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        trace.set_tracer_provider(provider)

    def points(self, metric: str) -> dict[frozenset[tuple[str, Any]], Any]:
        data = self._metrics.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for each in scope.metrics:
                    if each.name == metric:
                        for point in each.data.data_points:
                            found[frozenset((point.attributes or {}).items())] = point
        return found

    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    def forget(self) -> None:
        self._spans.clear()


@pytest.fixture(scope="module")
def _set_up() -> Exported:
    return Exported()


@pytest.fixture
def exported(_set_up: Exported) -> Exported:
    _set_up.forget()
    return _set_up


def of(**attributes: str) -> frozenset[tuple[str, str]]:
    return frozenset((f"redrive.{name}", value) for name, value in attributes.items())


def test_a_transaction_is_a_span_and_its_events_are_counted_by_job_and_cluster(exported: Exported) -> None:
    with telemetry.transaction("standby/local/orders.created/3", 500):
        pass
    with telemetry.transaction("standby/local/orders.created/4", 20):
        pass
    place = of(job="standby", cluster="local")
    assert exported.points("redrive.pump.events")[place].value == 520
    assert exported.points("redrive.pump.transaction")[place].count == 2
    first, _ = exported.spans()
    assert first.attributes["redrive.unit"] == "standby/local/orders.created/3"
    assert first.attributes["messaging.batch.message_count"] == 500


def test_what_did_not_get_committed_is_a_failed_span_and_counts_nothing(exported: Exported) -> None:
    with pytest.raises(ValueError, match="fenced"), telemetry.transaction("dlq/west/dlq.orders/0", 9):
        raise ValueError("fenced")
    assert of(job="dlq", cluster="west") not in exported.points("redrive.pump.events")
    (span,) = exported.spans()
    assert not span.status.is_ok


def test_sums_of_several_of_a_name_are_added_and_do_not_fall_when_one_ends(exported: Exported) -> None:
    first, second = {"main": 3, "standby": 1}, {"main": 10}
    end = telemetry.producers.add("a shop", lambda: first)
    telemetry.producers.add("a shop", lambda: second)
    seen = exported.points("redrive.producer.events")
    assert seen[of(producer="a shop", path="main")].value == 13
    assert seen[of(producer="a shop", path="standby")].value == 1
    end()
    end()
    first["main"] = 1_000
    second["main"] = 11
    assert exported.points("redrive.producer.events")[of(producer="a shop", path="main")].value == 14


def test_who_has_ended_is_not_kept(exported: Exported) -> None:
    class Counting:
        def counts(self) -> dict[str, int]:
            return {"handled": 7}

    counting = Counting()
    seen = weakref.ref(counting)
    end = telemetry.consumers.add("a bill", counting.counts)
    end()
    del counting, end
    gc.collect()
    assert seen() is None
    assert exported.points("redrive.consumer.events")[of(group="a bill", outcome="handled")].value == 7
