"""A dead letter as it is in Kafka now, for people and for programs. Slow to import: commands do so when they must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
from rich.text import Text

from redrive import tagged_json
from redrive.cli.exits import GOOD, exit_code
from redrive.cli.output import hexdump, out, safe, show_table
from redrive.config import Config
from redrive.deadletters.correction.copies import Copy, find_letter
from redrive.deadletters.dialects import Record, confluent, connect, own, spring
from redrive.deadletters.letter_value import LetterValue, read_value
from redrive.errors import LetterFormatError, RedriveError, WireFormatError
from redrive.ledger.letter_queries import KnownLetter, Story
from redrive.schemas import SchemaRegistry

FIRST = 256
"""Bytes shown of a value that can't be decoded."""

GONE = "The letter is no longer in Kafka: retention has deleted it, or its topic was made anew."

_WHY: dict[str, tuple[str, ...]] = {
    "own": (own.PREFIX,),
    "connect": (connect.PREFIX,),
    "spring": spring.PREFIXES,
    "confluent": (confluent.PREFIX,),
}
_ALL = 2**31  # characters; what is shown of a value is not to be cut

Headers = list[tuple[str, str | None]]


class Found(msgspec.Struct, frozen=True):
    """What was found of a letter in Kafka.

    Attributes:
        record: the letter; None if it is gone or could not be read.
        value: its value; None if it was not or could not be decoded.
        problem: why not; empty if nothing went wrong.
        code: what the program is to end with.
        copy: where it was read from, if its topic no longer has it.
    """

    record: Record | None
    value: LetterValue | None = None
    problem: str = ""
    code: int = GOOD
    copy: Copy | None = None


def fetch(config: Config, story: Story, *, raw: bool) -> Found:
    """Read a letter from Kafka, and decode its value, unless ``raw``. What goes wrong is part of the answer."""
    try:
        client = config.cluster(story.letter.sighting.cluster).client_config()
        record, copy = find_letter(client, story)
    except RedriveError as error:
        return Found(None, problem=str(error), code=exit_code(error))
    if record is None:
        return Found(None, problem=GONE)
    if raw:
        return Found(record, copy=copy)
    try:
        with closing(SchemaRegistry(config.registry_client_config())) as registry:
            return Found(record, read_value(record, registry.reader()), copy=copy)
    except (LetterFormatError, WireFormatError) as error:
        return Found(record, problem=str(error), copy=copy)
    except RedriveError as error:
        return Found(record, problem=str(error), code=exit_code(error), copy=copy)


def found_row(found: Found, letter: KnownLetter) -> dict[str, Any]:
    """Give what was found of a letter, for programs: the value in tagged JSON, or its bytes in base64."""
    record, value = found.record, found.value
    if record is None:
        return {"record": None, "copy": None, "problem": found.problem}
    event, why = _headers(record, letter)
    content: dict[str, Any] = {"form": "bytes", "bytes": record.value}
    if value is not None:
        content = {"form": value.form, "value": msgspec.Raw(_tagged(value))}
    record_row = {"headers": event, "why": why, **content}
    return {"record": record_row, "copy": found.copy and str(found.copy), "problem": found.problem or None}


def show_found(found: Found, letter: KnownLetter, *, raw: bool) -> None:
    """Print what was found of a letter in Kafka, for people; ``raw``: all of its bytes."""
    if found.record is not None:
        event, why = _headers(found.record, letter)
        for title, headers in (("header of the event", event), ("header that says why", why)):
            if headers:
                show_table((title, ""), ((safe(name), text and safe(text)) for name, text in headers))
    if found.copy is not None:
        what = "its copy" if found.copy.is_whole else "what a correction had made of it, and Kafka has refused"
        out.print(Text(f"The letter's topic no longer has it. This is {what}: {found.copy}", "yellow"), soft_wrap=True)
    if found.problem:
        out.print(Text(safe(found.problem), "yellow"), soft_wrap=True)
    if found.record is not None:
        for line in _value_lines(found.record, found.value, None if raw else FIRST):
            out.print(line, markup=False, highlight=False, soft_wrap=True)


def _headers(record: Record, letter: KnownLetter) -> tuple[Headers, Headers]:
    """Give a record's headers as text: those of the event, and those that make it a dead letter."""
    event: Headers = []
    why: Headers = []
    prefixes = _WHY.get(letter.sighting.dialect, ())
    for name, value in record.headers or ():
        (why if name.startswith(prefixes) else event).append((name, _text(value)))
    return event, why


def _text(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return f"hex:{raw.hex()}"


def _value_lines(record: Record, value: LetterValue | None, most: int | None) -> Iterator[str]:
    raw = record.value
    if value is not None and value.form != "none":
        yield f"The value, {value.form}:"
        yield safe(json.dumps(json.loads(_tagged(value)), ensure_ascii=False, indent=2))
    elif raw is None:
        yield "There is no value."
    else:
        yield f"The value, {len(raw):,} bytes:"
        yield from hexdump(raw[:most])
        if most is not None and len(raw) > most:
            yield f"… and {len(raw) - most:,} bytes more; all of them: --raw"


def _tagged(value: LetterValue) -> bytes:
    return tagged_json.encode(value.value, limit=_ALL)[0]
