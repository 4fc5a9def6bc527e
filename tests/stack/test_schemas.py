"""The registry: asked at the start and once for each new id; down, it takes nothing away that is known."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive import schemas
from redrive.errors import (
    IncompatibleSchemaError,
    InvalidEventError,
    SchemaError,
    UnavailableError,
    UnknownSchemaError,
    WireFormatError,
)
from redrive.schemas import SchemaRegistry
from redrive.wire import frame
from tests.stack.platform import ORDER, Gatekeeper, Platform


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    return Platform(stack, tmp_path, monkeypatch)


@pytest.fixture
def gate(stack: Stack) -> Iterator[Gatekeeper]:
    gate = Gatekeeper(stack.endpoints.registry)
    yield gate
    gate.close()


def patient(gate: Gatekeeper) -> SchemaRegistry:
    return SchemaRegistry({"url": gate.url, "max.retries": 0})


def test_a_writer_and_a_reader_ask_once_and_then_never_again(platform: Platform, gate: Gatekeeper) -> None:
    registry = patient(gate)
    writer, reader = registry.writer(platform.orders), registry.reader()
    asked = len(gate.asked)
    for number in range(100):
        assert reader.decode(writer.encode({"id": number})) == {"id": number, "note": None}
    assert len(gate.asked) == asked + 1


def test_what_is_known_goes_on_working_while_the_registry_is_down(platform: Platform, gate: Gatekeeper) -> None:
    registry = patient(gate)
    writer, reader = registry.writer(platform.orders), registry.reader()
    reader.decode(writer.encode({"id": 1}))
    gate.open = False
    assert reader.decode(writer.encode({"id": 2}))["id"] == 2
    with pytest.raises(UnavailableError, match="registry http://127"):
        registry.writer(platform.refunds)


def test_a_new_id_while_the_registry_is_down_is_an_error_that_heals(
    platform: Platform, gate: Gatekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not asked for with every event."""
    monkeypatch.setattr(schemas, "DOWN_FOR", 0.5)
    registry, data = patient(gate), platform.orders_of([7])[0]
    gate.open = False
    for _ in range(50):
        with pytest.raises(UnavailableError):
            registry.reader().decode(data)
    assert len(gate.asked) <= 2
    gate.open = True
    time.sleep(0.6)
    assert registry.reader().decode(data)["id"] == 7


def test_an_unknown_id_is_asked_for_once(gate: Gatekeeper) -> None:
    registry = patient(gate)
    for _ in range(50):
        with pytest.raises(UnknownSchemaError, match="schema id 2147480000 is not in the registry"):
            registry.reader().decode(frame(2_147_480_000, b"\x00"))
    assert len(gate.asked) == 1


def test_an_address_that_is_no_registry_is_not_taken_for_an_unknown_id(stack: Stack) -> None:
    """Else one wrong setting would make a dead letter of every event."""
    registry = SchemaRegistry({"url": stack.endpoints.registry + "/not-here"})
    with pytest.raises(UnavailableError, match="check the registry's url"):
        registry.reader().decode(frame(1, b"\x00"))


def test_events_of_older_versions_are_resolved_to_the_reader_s(platform: Platform) -> None:
    old = platform.orders_of([1])[0]
    fields = [{"name": "id", "type": "double"}, {"name": "paid", "type": "boolean", "default": False}]
    reader = platform.registry.reader(schema=json.dumps(ORDER | {"fields": fields}))
    assert reader.decode(old) == {"id": 1.0, "paid": False}


def test_an_event_that_the_reader_s_schema_can_t_take_is_refused(platform: Platform) -> None:
    reader = platform.registry.reader(schema=json.dumps(ORDER | {"fields": [{"name": "other", "type": "int"}]}))
    with pytest.raises(IncompatibleSchemaError, match="wanted as the reader's schema"):
        reader.decode(platform.orders_of([1])[0])


def test_a_writer_may_be_asked_for_a_version_of_its_own(platform: Platform) -> None:
    second = ORDER | {"fields": [*ORDER["fields"], {"name": "more", "type": "int", "default": 0}]}  # type: ignore[misc]
    with pytest.raises(SchemaError, match="redrive topics apply"):
        platform.registry.writer(platform.orders, json.dumps(second))
    newer = platform.registry.writer(platform.orders, json.dumps(second), register=True)
    assert (newer.version, platform.writer.version) == (2, 1)
    assert platform.registry.writer(platform.orders, json.dumps(ORDER)).schema_id == platform.writer.schema_id


def test_a_topic_without_a_schema_is_named_with_the_way_out(platform: Platform) -> None:
    with pytest.raises(SchemaError, match=r"nothing-here-value: is not in the registry .* topics apply"):
        platform.registry.writer("nothing-here")


def test_a_value_that_does_not_fit_names_topic_field_and_reason(platform: Platform) -> None:
    with pytest.raises(InvalidEventError) as caught:
        platform.writer.encode({"id": 1.5})
    assert (caught.value.topic, caught.value.field) == (platform.orders, "id")
    assert "is a float" in caught.value.reason


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:4],
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: b"\x01" + data[1:],
        lambda data: data[5:],
        lambda data: data[:5] + data,
        lambda data: b'{"id": 1}',
    ],
)
def test_bytes_that_are_not_one_framed_event_are_refused(platform: Platform, spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(WireFormatError):
        platform.registry.reader().decode(spoil(platform.orders_of([1])[0]))
