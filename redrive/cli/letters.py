"""Dead letters as commands show them. Slow to import: commands do it when they need it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

import msgspec
from rich.text import Text

from redrive.cli.exits import GOOD, exit_code
from redrive.cli.output import age, out, show_table
from redrive.config import Config
from redrive.deadletters import tagged_json
from redrive.deadletters.dialects import Record, confluent, connect, own, sight, spring
from redrive.deadletters.letter_value import LetterValue, read_value
from redrive.deadletters.reading import read_record
from redrive.deadletters.selection import key_text
from redrive.errors import LetterFormatError, RedriveError, WireFormatError
from redrive.ledger.letter_queries import Decision, KnownLetter, Story, time_of
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


class Found(msgspec.Struct, frozen=True):
    """What was found of a letter in Kafka.

    Attributes:
        record: the letter; None if it is gone or could not be read.
        value: its value; None if it was not or could not be decoded.
        problem: why not; empty if nothing went wrong.
        code: what the program is to end with.
    """

    record: Record | None
    value: LetterValue | None = None
    problem: str = ""
    code: int = GOOD


def fetch(config: Config, letter: KnownLetter, *, raw: bool) -> Found:
    """Read a letter from Kafka, and decode its value, unless ``raw``. What goes wrong is part of the answer."""
    try:
        record = read_record(config.cluster(letter.sighting.cluster).client_config(), letter.id)
    except RedriveError as error:
        return Found(None, problem=str(error), code=exit_code(error))
    if record is None or not _same(record, letter):
        return Found(None, problem=GONE)
    if raw:
        return Found(record)
    try:
        with closing(SchemaRegistry(config.registry_client_config())) as registry:
            return Found(record, read_value(record, registry.reader()))
    except (LetterFormatError, WireFormatError) as error:
        return Found(record, problem=str(error))
    except RedriveError as error:
        return Found(record, problem=str(error), code=exit_code(error))


def _same(record: Record, letter: KnownLetter) -> bool:
    """Say whether a record is the letter, and not one of a later topic of the same name."""
    seen = sight(record)
    return all(getattr(seen, name) == getattr(letter.sighting, name) for name in ("timestamp", "event_id", "size"))


def as_row(letter: KnownLetter) -> dict[str, Any]:
    """Give what the ledger has of a letter, for programs."""
    seen = letter.sighting
    return {
        "id": str(letter.id),
        **msgspec.structs.asdict(seen),
        "timestamp": letter_moment(seen.timestamp),
        "main_timestamp": letter_moment(seen.main_timestamp),
        "key": None if seen.key is None else key_text(seen.key),
        "fate": letter.fate,
    }


def decision_row(decision: Decision) -> dict[str, Any]:
    """Give a fate, for programs."""
    fate = decision.fate
    return {
        "at": decision.at,
        "fate": fate.name,
        "reason": fate.reason,
        "rules": fate.rules,
        "topic": fate.topic,
        "partition": fate.partition,
        "offset": fate.offset,
        "operation": decision.operation_id,
    }


def as_json(story: Story, found: Found) -> dict[str, Any]:
    """Give all about a letter, for programs: the value in tagged JSON, or its bytes in base64."""
    return {
        **as_row(story.letter),
        "fates": [decision_row(decision) for decision in story.decisions],
        "record": None if found.record is None else _record_json(found.record, found.value, story.letter),
        "problem": found.problem or None,
    }


def _record_json(record: Record, value: LetterValue | None, letter: KnownLetter) -> dict[str, Any]:
    event, why = _headers(record, letter)
    content: dict[str, Any] = {"form": "bytes", "bytes": record.value}
    if value is not None:
        content = {"form": value.form, "value": msgspec.Raw(_tagged(value))}
    return {"headers": event, "why": why, **content}


def show_story(story: Story) -> None:
    """Print what the ledger has of a letter, for people."""
    show_table(("of the letter", ""), _facts(story.letter))
    if story.decisions:
        columns = ("at", "fate", "reason", "rules", "where", "operation")
        show_table(columns, (_decision_line(decision) for decision in story.decisions))


def show_found(found: Found, letter: KnownLetter, *, raw: bool) -> None:
    """Print what was found of a letter in Kafka, for people; ``raw``: all of its bytes."""
    if found.record is not None:
        event, why = _headers(found.record, letter)
        for title, headers in (("header of the event", event), ("header that says why", why)):
            if headers:
                show_table((title, ""), ((safe(name), text and safe(text)) for name, text in headers))
    if found.problem:
        out.print(Text(safe(found.problem), "yellow"), soft_wrap=True)
    if found.record is not None:
        for line in _value_lines(found.record, found.value, None if raw else FIRST):
            out.print(line, markup=False, highlight=False, soft_wrap=True)


def _facts(letter: KnownLetter) -> Iterator[tuple[str, Any]]:
    row = as_row(letter)
    for name in ("cluster", "topic", "partition", "offset"):
        del row[name]  # all of it is in the id
    for name, value in row.items():
        if isinstance(value, datetime):
            yield name, f"{value.isoformat(' ', 'seconds')} ({age(value)} ago)"
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, str(value)  # most are no amounts
        else:
            yield name, None if value == "" else value


def told(decision: Decision) -> str:
    """Say in a line what became of a letter."""
    at, *words, operation = _decision_line(decision)
    return f"{at} {' '.join(word for word in words if word)} by {operation}"


def _decision_line(decision: Decision) -> tuple[str, str, str | None, str | None, str | None, str]:
    fate = decision.fate
    where = None if fate.topic is None else f"{fate.topic}/{fate.partition}/{fate.offset}"
    return (
        decision.at.isoformat(" ", "seconds"),
        fate.name,
        fate.reason or None,
        ", ".join(fate.rules) or None,
        where,
        decision.operation_id[:8],
    )


Shown = list[tuple[str, str | None]]


def _headers(record: Record, letter: KnownLetter) -> tuple[Shown, Shown]:
    """Give a record's headers as text: those of the event, and those that make it a dead letter."""
    event: Shown = []
    why: Shown = []
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


def hexdump(data: bytes) -> Iterator[str]:
    """Show bytes in lines of 16: where, in hexadecimal, in ASCII."""
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<47}  {shown}"


def safe(text: str) -> str:
    """Escape what could steer a terminal, or what it can't show; line ends stay."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def letter_moment(milliseconds: int | None) -> datetime | None:
    """Give the time of a letter, or of its event; none is kept as 0 or None."""
    return time_of(milliseconds) if milliseconds else None
