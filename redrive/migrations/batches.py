"""The migration as it is done by the batch, here or in other processes; see `redrive.pump.workers`."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from redrive.avro.codec import Encoder
from redrive.avro.misfit import Misfit
from redrive.coding import Reader
from redrive.columnar.events import EventColumns
from redrive.errors import WireFormatError
from redrive.events import Event
from redrive.migrations.migrator import Migrator
from redrive.migrations.pairing import ColumnPairs, Pair
from redrive.migrations.verifying import Compare
from redrive.pump.model import Chunk, Rejected, Skipped, Transform, Transformed
from redrive.pump.workers import Workers
from redrive.rules.draft import same
from redrive.schemas import SchemaRegistry
from redrive.wire import prefix

_Result = bytes | str | list[str] | None
"""What becomes of an event: its new value; why it is rejected; why it is skipped; None: it passes as it is."""

_pack = msgspec.msgpack.Encoder().encode
_events = msgspec.msgpack.Decoder(list[Event])
_results: msgspec.msgpack.Decoder[list[_Result]] = msgspec.msgpack.Decoder()


def transform(workers: Workers, spec: bytes) -> Transform:
    """Make the pump's transform of a migration (`redrive.migrations.migration.Migration.spec`).

    What goes by columns is done by the thread that asks, which takes little of the interpreter's time. All else goes to
    the processes, unless it is little: they are started when they are first needed.
    """
    if pickle.loads(spec)[0].rules:
        workers.warm_up(_migrate, spec, _pack([]))

    def transformed(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Sequence[Transformed]]]:
        migrator = _tools(spec, threading.get_ident()).migrator
        parts = (_part(migrator, chunk) for chunk in chunks)
        for part, packed in workers.map(_migrate, spec, parts, lambda part: _pack(part.rest) if part.rest else b""):
            if isinstance(part.known, EventColumns):
                yield part.chunk, part.known
                continue
            rest = zip(part.rest, _results.decode(packed) if packed else (), strict=True)
            yield part.chunk, [known or _event(*next(rest)) for known in part.known]

    return transformed


_FEW = 100
"""So many events are migrated sooner than processes are asked."""


class _Part(NamedTuple):
    """A chunk, migrated in part.

    Attributes:
        known: for each of its events what became of it, None if that is not known yet.
        rest: those of which it is not.
    """

    chunk: Chunk
    known: Sequence[Transformed | None]
    rest: Sequence[Event]


def _part(migrator: Migrator, chunk: Chunk) -> _Part:
    events = chunk.events
    if isinstance(events, EventColumns):
        whole = migrator.whole(events)
        if whole is not None:
            return _Part(chunk, whole, ())
        events = [*events]
        chunk = replace(chunk, events=events)
    migrated = migrator.by_columns(events)
    known: list[Transformed | None] = [migrated.get(place) for place in range(len(events))]
    rest = [event for event, became in zip(events, known, strict=True) if became is None]
    if len(rest) > _FEW:
        return _Part(chunk, known, rest)
    return _Part(chunk, [became or migrator.migrate(event) for event, became in zip(events, known, strict=True)], ())


def compare(spec: bytes) -> Compare:
    """Make what compares values for `redrive.migrations.verifying`, in the calling thread: see ``comparing.py``."""

    def compared(pairs: Sequence[Pair]) -> Sequence[str]:
        tools = _tools(spec, threading.get_ident())
        if isinstance(pairs, ColumnPairs) and _made_again(tools, pairs):
            old, new = pairs.events.values.each(), pairs.values.each()
            return [_unlike(tools, value or b"", after or b"") for value, after in zip(old, new, strict=True)]
        pairs = [*pairs]
        again = tools.migrator.migrate_batch([event for event, _ in pairs])
        return [_complaint(tools, event, became, after) for (event, after), became in zip(pairs, again, strict=True)]

    return compared


def _made_again(tools: _Tools, pairs: ColumnPairs) -> bool:
    """Make the values of all copies once more, and say whether they are those that the target has."""
    from redrive.columnar import loops

    again = tools.migrator.whole(pairs.events)
    return again is not None and loops.equal(*again.values.plain, *pairs.values.plain)


def _complaint(tools: _Tools, event: Event, became: Transformed, after: bytes | None) -> str:
    """Say what is wrong with an event's new value: it was made once more, and is read as a consumer reads it."""
    if isinstance(became, Skipped) and after is None:
        return ""
    if not isinstance(became, Event):
        return f"it is in the target, though it can't be migrated: {became.reason}"
    if became.value != after:
        return "its value is not what the migration makes of it"
    return "" if after is None else _unlike(tools, event.value or b"", after)


def _unlike(tools: _Tools, before: bytes, after: bytes) -> str:
    """Say what is wrong with a value that was made of another.

    What columns have made, fastavro judges: where there are no rules, it resolves the old value by itself. If that is
    encoded to the very bytes of the new value, there is nothing left to be read: the same bytes are the same value.
    """
    by_avro = tools.migrator.rules is None
    try:
        resolved = tools.reader.decode(before) if by_avro else None
        if by_avro and tools.encoded(resolved) == after:
            return ""
        value = tools.reader.decode(after)
        if by_avro and not same(value, resolved):
            return "its value is not what Avro resolves the old one to"
    except WireFormatError as error:
        return f"its value can't be read: {error}"
    return ""


def _event(event: Event, became: _Result) -> Transformed:
    if became is None:
        return event
    if isinstance(became, str):
        return Rejected(became)
    if isinstance(became, list):
        return Skipped(became[0])
    return Event(
        event.id, event.topic, event.key, became, event.headers, event.timestamp, event.partition, event.origin
    )


def _migrate(spec: bytes, batch: bytes) -> bytes:
    migrator, events = _tools(spec, threading.get_ident()).migrator, _events.decode(batch)
    results: list[_Result] = []
    for event, became in zip(events, migrator.migrate_batch(events), strict=True):
        if became is event:
            results.append(None)
        elif isinstance(became, Event):
            results.append(became.value)
        else:
            results.append(became.reason if isinstance(became, Rejected) else [became.reason])
    return _pack(results)


class _Tools(NamedTuple):
    """What a thread works with.

    Attributes:
        migrator: makes new values of old ones.
        reader: reads both as values of the target's schema, by fastavro.
        encoder: encodes these.
        prefix: the frame of values of the target's schema.
    """

    migrator: Migrator
    reader: Reader
    encoder: Encoder
    prefix: bytes

    def encoded(self, value: Any) -> bytes | None:
        """Encode and frame a value; None if it does not fit: what fastavro has resolved may be less strict."""
        try:
            return self.encoder.encode(value, self.prefix)
        except Misfit:
            return None


@lru_cache(maxsize=64)
def _tools(spec: bytes, _thread: int) -> _Tools:
    """Make what a thread works with: a migrator is not for several at once."""
    recipe, client_config = pickle.loads(spec)  # of our own parent
    registry, target = SchemaRegistry(client_config), recipe.schemas[recipe.target]
    return _Tools(Migrator(recipe, registry.schema), Reader(registry, target), Encoder(target), prefix(recipe.target))
