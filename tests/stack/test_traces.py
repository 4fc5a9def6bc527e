"""Traces of the SDK: what happens to an event on each side of Kafka is a span there."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deployments.local.stack import Stack
from redrive import telemetry
from redrive.consumer import EventConsumer
from redrive.producer import EventProducer
from redrive.received import ReceivedEvent
from tests.stack.platform import Platform


def test_publishing_and_handling_are_spans(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tracer of this test's own: one that is set up for the process would be there for good."""
    platform = Platform(stack, tmp_path, monkeypatch)
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    tracer = provider.get_tracer("redrive")
    monkeypatch.setattr(telemetry, "_tracer", tracer)
    monkeypatch.setattr(telemetry, "is_tracing", lambda: True)

    with EventProducer(platform.group, platform.config, topics=[platform.orders]) as producer:
        with tracer.start_as_current_span("the caller's"):
            receipts = [producer.publish(platform.orders, "k", {"id": value}) for value in (1, "2")]
        assert [receipt.result(30).path for receipt in receipts] == ["main", "dead_letter"]

    def handle(event: ReceivedEvent) -> None:
        tracer.start_span("the handler's").end()

    with EventConsumer(platform.group, platform.config, [platform.orders]) as consumer:
        consumer.run(handle, idle=8)

    spans = exported.get_finished_spans()
    (caller,) = (span for span in spans if span.name == "the caller's")
    published = [span for span in spans if span.name == "redrive.publish"]
    assert {span.attributes["redrive.path"] for span in published if span.attributes} == {"main", "dead_letter"}
    assert {span.parent.span_id for span in published if span.parent} == {caller.context.span_id}
    (handled,) = (span for span in spans if span.name == "redrive.handle")
    (inner,) = (span for span in spans if span.name == "the handler's")
    assert inner.parent is not None
    assert inner.parent.span_id == handled.context.span_id
