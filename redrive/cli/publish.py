"""``redrive publish``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec
import typer

from redrive.cli.exits import BAD
from redrive.cli.output import Json, note, show_json, show_table
from redrive.config import Config
from redrive.errors import ConfigError, InvalidEventError, PublishError
from redrive.events import Headers

if TYPE_CHECKING:
    from redrive.receipts import Receipt

TOLD = 10  # how many of the events that did not go are told one by one


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the file: an event before it is encoded."""

    value: Any
    key: str | None = None
    id: str | None = None
    headers: dict[str, str | None] = msgspec.field(default_factory=dict)


def publish(
    topic: Annotated[str, typer.Argument(help="Where to.")],
    file: Annotated[
        str,
        typer.Argument(
            help='JSON lines {"id", "key", "value", "headers"}, of which value must be; "-": standard input.'
        ),
    ],
    producer: Annotated[str, typer.Option(help="Who publishes; dead letters go to the topic dlq.NAME.")],
    json: Json = False,
) -> None:
    """Publish events from a file, and count which path they took: main, standby or dead_letter.

    Exit code 1 if a line could not be read, or an event was not acknowledged.
    """
    from redrive.producer import EventProducer

    config = Config.load()
    complaints = _Complaints()
    with _opened(file) as lines, EventProducer(producer, config, topics=[topic]) as events:
        for number, raw in enumerate(lines, start=1):
            if not raw.strip():
                continue
            try:
                line = msgspec.json.decode(raw, type=Line)
                receipt = events.publish(topic, line.key, line.value, event_id=line.id, headers=_headers(line.headers))
            except (msgspec.DecodeError, InvalidEventError) as error:
                complaints.unreadable += 1
                complaints.add(number, str(error))
                continue
            receipt.add_done_callback(partial(complaints.hear, number))
        events.flush()
        counts = events.counts
    counts["unreadable"] = complaints.unreadable
    complaints.tell()
    if json:
        show_json({"topic": topic, "producer": producer, **counts})
    else:
        show_table(("path", "events"), counts.items(), numbers=["events"])
    if counts["failed"] or counts["unreadable"]:
        raise typer.Exit(BAD)


class _Complaints:
    """What to tell about the events that did not go where they should."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._told: list[tuple[int, str]] = []
        self._more = 0

    def hear(self, line: int, receipt: Receipt) -> None:
        try:
            if receipt.result().path == "dead_letter":
                self.add(line, f"dead letter: {receipt.refusal}")
        except PublishError as error:
            self.add(line, str(error))

    def add(self, line: int, reason: str) -> None:
        if len(self._told) < TOLD:
            self._told.append((line, reason))
        else:
            self._more += 1

    def tell(self) -> None:
        for line, reason in sorted(self._told):
            note(f"line {line}: {reason}")
        if self._more:
            note(f"… and {self._more:,} more")


def _headers(given: dict[str, str | None]) -> Headers:
    return [(name, value.encode() if value is not None else None) for name, value in given.items()]


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise ConfigError("FILE", f"can't read {file}: {error.strerror}") from error
        yield opened
