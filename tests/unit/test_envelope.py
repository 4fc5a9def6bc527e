"""An event's CloudEvents headers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from redrive import envelope
from redrive.errors import InvalidEventError
from redrive.events import Headers

NOW = 1_793_500_000_007


def test_the_headers_are_those_of_the_kafka_binding_in_binary_mode() -> None:
    assert dict(envelope.headers("e-1", source="orders-service", type="orders.created", time_ms=NOW)) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"orders-service",
        "ce_type": b"orders.created",
        "ce_time": b"2026-11-01T02:26:40.007Z",
        "content-type": b"application/avro",
    }


def test_what_is_written_is_read_again() -> None:
    read = envelope.parse(envelope.headers("é-1", source="s", type="t", time_ms=NOW))
    assert read == envelope.Envelope("é-1", "s", "t", datetime.fromtimestamp(NOW / 1000, UTC))


@pytest.mark.parametrize("time_ms", [0, -1, 999, 1000, 253_402_300_799_999])
def test_any_time_is_written_to_the_millisecond(time_ms: int) -> None:
    """Also one before 1970: clocks are set wrong in every direction."""
    read = datetime.fromisoformat(envelope.rfc3339(time_ms).decode())
    assert round((read - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) == time_ms


def test_each_event_has_a_list_of_its_own() -> None:
    one = envelope.headers("1", source="s", type="t", time_ms=NOW)
    one.append(("mine", b""))
    assert ("mine", b"") not in envelope.headers("2", source="s", type="t", time_ms=NOW)


@pytest.mark.parametrize("headers", [None, [], [("other", b"x")], [("ce_id", None)], [("ce_id", b"")]])
def test_an_event_without_an_id_has_none(headers: Headers | None) -> None:
    assert envelope.event_id(headers) is None
    assert envelope.parse(headers).id is None


def test_headers_of_others_do_no_harm() -> None:
    """Ten thousand of them, a repeated id (the first counts), bytes that are not UTF-8, a time that is none."""
    many: Headers = [(f"h{i}", b"x") for i in range(10_000)]
    many += [("ce_id", b"\xff1"), ("ce_id", b"2"), ("ce_time", b"yesterday"), ("ce_source", None)]
    assert envelope.event_id(many) == "\ufffd1"
    assert envelope.parse(many) == envelope.Envelope("\ufffd1", None, None, None)


@pytest.mark.parametrize("event_id", ["", "\ud800"])
def test_an_id_that_can_t_be_written_is_refused(event_id: str) -> None:
    with pytest.raises(InvalidEventError, match="event_id"):
        envelope.headers(event_id, source="s", type="t", time_ms=NOW)
