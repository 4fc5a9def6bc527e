"""Which values of dead letters need a schema, and which can't be read with any."""

from __future__ import annotations

from typing import Any

import pytest

from redrive.coding import Reader
from redrive.deadletters.dialects import Record
from redrive.deadletters.letter import letter_of_bytes, letter_of_value
from redrive.deadletters.letter_value import LetterValue, read_value
from redrive.errors import LetterFormatError, UnavailableError, WireFormatError
from redrive.events import Event, Headers
from redrive.schemas import SchemaRegistry

WHY: dict[str, Any] = {"event_id": "e", "key": None, "headers": [], "topic": "flights", "reason": "invalid-value"}
WHY |= {"detail": "", "producer": "shop", "timestamp": 0}


@pytest.fixture
def reader() -> Reader:
    """A reader whose registry is away."""
    return SchemaRegistry({"url": "http://127.0.0.1:1", "timeout": 1, "max.retries": 0}).reader()


def record(value: bytes | None, headers: Headers | None = None) -> Record:
    return Record("local", "dlq.shop", 0, 0, 0, headers, None, value)


def of(letter: Event) -> Record:
    return record(letter.value, letter.headers)


@pytest.mark.parametrize("value", [{"id": "seven", "raw": b"\xff"}, None, [1.5, (2,)]], ids=str)
def test_an_own_value_that_fits_no_schema_needs_none(reader: Reader, value: Any) -> None:
    letter = letter_of_value("dlq.shop", value=value, **WHY)
    assert read_value(of(letter), reader) == LetterValue("json", value)


@pytest.mark.parametrize("letter", [record(None), of(letter_of_bytes("dlq.shop", value=None, **WHY))], ids=["", "own"])
def test_a_tombstone_has_no_value(reader: Reader, letter: Record) -> None:
    assert read_value(letter, reader) == LetterValue("none", None)


def test_an_own_letter_that_is_damaged_is_told_from_others(reader: Reader) -> None:
    letter = letter_of_value("dlq.shop", value=1, **WHY)
    with pytest.raises(LetterFormatError, match="its value can't be read"):
        read_value(record(b"{", letter.headers), reader)


@pytest.mark.parametrize("value", [b"", b"\x01\x00\x00\x00\x07", b'{"id": 7}'], ids=["empty", "magic", "plain JSON"])
def test_what_has_no_frame_is_not_guessed_at(reader: Reader, value: bytes) -> None:
    with pytest.raises(WireFormatError):
        read_value(record(value), reader)


def test_framed_bytes_need_the_registry(reader: Reader) -> None:
    letter = of(letter_of_bytes("dlq.shop", value=b"\x00\x00\x00\x00\x07\x02", **WHY))
    for framed in (letter, record(letter.value)):
        with pytest.raises(UnavailableError, match="registry"):
            read_value(framed, reader)
