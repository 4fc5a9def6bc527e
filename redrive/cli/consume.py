"""``redrive consume``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from redrive.cli.output import Json, note, out, show_json_line
from redrive.config import Config
from redrive.errors import WireFormatError

if TYPE_CHECKING:
    from confluent_kafka import Message

    from redrive.coding import Reader
    from redrive.received import ReceivedEvent


class Shown(msgspec.Struct, omit_defaults=True):
    """An event as this command prints it."""

    id: str | None
    topic: str
    partition: int
    offset: int
    timestamp: datetime
    key: str | None
    value: Any
    headers: list[tuple[str, str | None]]
    error: str = ""


def consume(
    topic: Annotated[str, typer.Argument(help="What to read.")],
    group: Annotated[
        str | None,
        typer.Option(help="Read on as this consumer group, and commit; dead letters go to the topic dlq.GROUP."),
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Stop after so many events.")] = None,
    idle: Annotated[float, typer.Option(min=0, help="With --group: stop after so many seconds without one.")] = 5,
    json: Json = False,
) -> None:
    """Print the events of a topic: all there are now, and leave no trace; or, with a group, what is new to it."""
    config = Config.load()
    events = _as_group(config, topic, group, most, idle) if group else islice(_all(config, topic), most)
    count = 0
    for shown in events:
        count += 1
        if json:
            show_json_line(shown)
        else:
            as_it_is = shown.value is None or isinstance(shown.value, str)
            value = shown.value if as_it_is else msgspec.json.encode(shown.value, enc_hook=str).decode()
            line = f"{shown.partition}/{shown.offset}  {shown.timestamp:%F %T}  {shown.key}  {value}"
            out.print(line, markup=False, highlight=False, soft_wrap=True)
            if shown.error:
                note(f"{shown.partition}/{shown.offset}: {shown.error}")
    if not json:
        note(f"{count:,} events")


def _all(config: Config, topic: str) -> Iterator[Shown]:
    """Read what was committed before now, as no group."""
    from redrive.pump.readback import scan
    from redrive.schemas import SchemaRegistry

    registry = SchemaRegistry(config.registry_client_config())
    try:
        # Without a schema, as in a dead-letter topic, values are shown as they are.
        reader = registry.reader() if config.topic(topic).schema else None
        for batch in scan(config.cluster_of(topic).client_config(), topic):
            for message in batch:
                yield _shown(message, reader)
    finally:
        registry.close()


def _shown(message: Message, reader: Reader | None) -> Shown:
    from redrive.envelope import event_id
    from redrive.events import headers_of

    raw, error = message.value(), ""
    try:
        value = reader.decode(raw) if reader and isinstance(raw, bytes) else _text(raw)
    except WireFormatError as problem:
        value, error = _text(raw), str(problem)
    headers = headers_of(message)
    return Shown(
        id=event_id(headers),
        topic=str(message.topic()),
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=_time(message.timestamp()[1]),
        key=_text(message.key()),
        value=value,
        headers=[(name, _text(content)) for name, content in headers],
        error=error,
    )


def _as_group(config: Config, topic: str, group: str, most: int | None, idle: float) -> Iterator[Shown]:
    from redrive.consumer import EventConsumer

    left = most
    with EventConsumer(group, config, [topic]) as consumer:
        while left is None or left > 0:
            batch = next(consumer.batches(500 if left is None else min(500, left), idle=idle), None)
            if batch is None:
                return
            yield from map(_received, batch)
            consumer.commit()  # what was printed, and no more
            left = None if left is None else left - len(batch)


def _received(event: ReceivedEvent) -> Shown:
    return Shown(
        id=event.id,
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        timestamp=_time(event.timestamp),
        key=_text(event.key),
        value=event.value,
        headers=[(name, _text(content)) for name, content in event.headers],
    )


def _text(raw: bytes | str | None) -> str | None:
    """Give bytes as text; what is not UTF-8 as escapes."""
    return raw.decode(errors="backslashreplace") if isinstance(raw, bytes) else raw


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
