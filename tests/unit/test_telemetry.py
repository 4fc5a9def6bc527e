"""Metrics and traces, as an exporter of OpenTelemetry gets them."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
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
from redrive.gateway.exchange import Exchanges
from redrive.gateway.handing_over import HandingOver, Request
from redrive.receipts import Receipt
from tests.pumping import make_events


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


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_did_not_get_committed_is_a_failed_span_that_tells_of_an_error_but_its_type_and_counts_nothing(
    exported: Exported, error: type[BaseException]
) -> None:
    with pytest.raises(error, match="card"), telemetry.transaction("dlq/west/dlq.orders/0", 9):
        raise error("card of Doe")
    assert of(job="dlq", cluster="west") not in exported.points("redrive.pump.events")
    (span,) = exported.spans()
    assert (span.status.is_ok, span.status.description, span.events) == (False, error.__name__, ())
    assert "Doe" not in span.to_json()


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


def sent() -> Receipt:
    (event,) = make_events(1)
    return Receipt(event, threading.Condition())


def test_an_event_is_a_span_until_it_is_acknowledged_with_the_path_that_it_took(exported: Exported) -> None:
    receipt = sent()
    telemetry.published(receipt, "shop")
    assert exported.spans() == []
    receipt.acknowledge("standby")
    receipt.call_back()
    (span,) = exported.spans()
    assert (span.name, span.kind.name, span.status.is_ok) == ("redrive.publish", "PRODUCER", True)
    assert span.start_time == receipt.event.timestamp * 1_000_000
    assert span.attributes == {
        "redrive.producer": "shop", "redrive.path": "standby", "messaging.system": "kafka",
        "messaging.destination.name": "orders",
    }  # fmt: skip


def test_an_event_that_was_given_up_is_a_failed_span(exported: Exported) -> None:
    receipt = sent()
    telemetry.published(receipt, "shop")
    receipt.fail("nobody took it")
    receipt.call_back()
    (span,) = exported.spans()
    assert span.status.status_code.name == "ERROR"


def test_a_call_of_a_handler_is_a_span_that_tells_of_an_error_but_its_type(exported: Exported) -> None:
    with pytest.raises(ValueError, match="card"), telemetry.handling("billing", "orders"):
        raise ValueError("card of Doe")
    (span,) = exported.spans()
    assert (span.name, span.attributes["redrive.group"], span.status.description) == (
        "redrive.handle",
        "billing",
        "ValueError",
    )
    assert "Doe" not in span.to_json()


def ask(app: Any, path: str = "/v1/events/order.created") -> list[int]:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(Exchanges(app)(scope, receive, send))
    return statuses


def test_a_request_to_the_gateway_is_a_span_of_what_its_log_tells(exported: Exported) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = scope["state"]["exchange"]
        exchange.partner, exchange.event_type, exchange.events = "acme", "order.created", 3
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert ask(app) == [202]
    assert ask(app, "/livez") == [202]
    (span,) = exported.spans()
    assert (span.name, span.kind.name, span.status.is_ok) == ("redrive.gateway.request", "SERVER", True)
    told = {"http.response.status_code": 202, "redrive.partner": "acme", "messaging.batch.message_count": 3}
    assert told.items() <= span.attributes.items()
    assert "/v1/events" not in span.to_json()


def test_a_request_that_ends_in_an_unexpected_error_is_a_failed_span_without_the_error_s_text(
    exported: Exported,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("card of Doe")

    assert ask(app) == [500]
    (span,) = exported.spans()
    assert span.attributes["http.response.status_code"] == 500
    assert span.status.status_code.name == "ERROR"
    assert "Doe" not in span.to_json()


def test_what_is_begun_in_a_cluster_s_thread_belongs_to_its_request(exported: Exported) -> None:
    tracer, begun = trace.get_tracer("test"), threading.Event()

    def begin(_request: Request) -> None:
        tracer.start_span("inner").end()
        begun.set()

    async def hand_over() -> None:
        way = HandingOver("main", begin, lambda *_: None)
        with tracer.start_as_current_span("outer"):
            way.put(Request("orders", [], asyncio.get_running_loop().create_future()))
        assert begun.wait(10)
        way.end()

    asyncio.run(hand_over())
    spans = {span.name: span for span in exported.spans()}
    assert spans["inner"].parent.span_id == spans["outer"].context.span_id


def test_without_a_tracer_nothing_is_made_for_an_event() -> None:
    """In a process of its own: a tracer is there for good."""
    asked = "from redrive import telemetry; print(telemetry.is_tracing())"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout == "False\n"


@pytest.mark.usefixtures("exported")
def test_a_tracer_that_is_set_up_is_noticed() -> None:
    assert telemetry.is_tracing()
