"""Taking one event from whatever schema it was written with to another one.

An event's value is decoded as it was written, the rules change it, and what they leave is resolved to the target's
schema (see `redrive.migrations.resolution`), checked strictly, and encoded with its id. Without rules, what Avro
does not resolve is rejected; what it resolves comes out as Avro would have it, save that an integer that a float or
double has not the digits for is rejected, and not rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import fastavro
import msgspec
import numpy as np

from redrive.avro.codec import Decoder, Encoder
from redrive.avro.misfit import Misfit
from redrive.avro.schema import WRAPPED, AvroSchema, record_of
from redrive.columnar.events import EventColumns
from redrive.errors import IncompatibleSchemaError, SchemaError, UnknownSchemaError, WireFormatError
from redrive.events import UNREADABLE, Event, are_unreadable, with_value
from redrive.migrations.columns.batch import ByColumns
from redrive.migrations.compatibility import compare
from redrive.migrations.resolution import compile_resolution
from redrive.migrations.unions import compile_certain, compile_named, tells_branches
from redrive.pump.model import Rejected, Skipped
from redrive.rules import Rejected as RejectedByRule
from redrive.rules import RuleSet, parse_migration
from redrive.rules import Skipped as SkippedByRule
from redrive.rules.ruleset import Corrected
from redrive.wire import HEADER_SIZE, prefix, schema_id_of

REASONS = {
    "bad-frame": "the bytes are not a magic byte, a schema id and an Avro value",
    "unreadable-headers": "a header's name is not UTF-8, so that its headers can't be copied",
    "unknown-schema": "the registry does not know the schema id, or what it has can't be used",
    "incompatible-schema": "the value can't be resolved to the target's schema",
    "rule-failed": "a rule is for it, and could not be applied",
    "invalid-value": "what came out does not fit the target's schema",
}
"""What the reason of a rejected event begins with, before a colon, and what it means."""

Direction = Literal["up", "down"]
Ask = Callable[[int], AvroSchema]
"""Gives a schema by its id, as `redrive.schemas.SchemaRegistry.schema` does; raises what that raises."""

_UNREADABLE = msgspec.msgpack.encode([UNREADABLE])

_Step = Callable[[Event, bytes], bytes | Rejected | Skipped]


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a `Migrator` is made of, as plain data: it can be sent to another process.

    Attributes:
        target: the id of the schema that events are taken to.
        schemas: schemas by id: the target's, and those that events are known to be written with.
        rules: the text of the migration's file; empty: there are none.
        file: what errors call it.
        direction: which of its rules.
    """

    target: int
    schemas: Mapping[int, AvroSchema]
    rules: str = ""
    file: str = "the migration's rules"
    direction: Direction = "up"


class Migrator:
    """Takes events to one schema. Not for several threads at once.

    Args:
        recipe: what to do.
        ask: for ids that the recipe does not have; each is asked for until there is an answer.

    Attributes:
        rules: those of the recipe's direction; None: Avro's resolution alone.

    Raises:
        RulesError: the rules have mistakes.
        SchemaError: the target's schema is missing, or can't be used.
    """

    def __init__(self, recipe: Recipe, ask: Ask) -> None:
        if recipe.target not in recipe.schemas:
            raise SchemaError(f"id {recipe.target}", "is the target's and not among the recipe's schemas")
        self._schemas = dict(recipe.schemas)
        self._ask = ask
        self._target = recipe.schemas[recipe.target]
        self._prefix = prefix(recipe.target)
        self._encoder = Encoder(self._target)
        self.rules = _rules_of(recipe)
        self._certain = None if self.rules is None or tells_branches(self._target) else compile_certain(self._target)
        self._steps: dict[bytes, _Step] = {}
        self._columns = ByColumns(self._target, self._prefix, self.migrate, self._written)

    def migrate_batch(self, events: Sequence[Event]) -> list[Event | Rejected | Skipped]:
        """Do as `migrate` for each event, many at once where that gives the same: see `redrive.migrations.columns`.

        Raises:
            UnavailableError: a schema id is new, and the registry does not answer.
        """
        migrated = self.by_columns(events)
        return [migrated.get(place) or self.migrate(event) for place, event in enumerate(events)]

    def by_columns(self, events: Sequence[Event]) -> dict[int, Event]:
        """Migrate those events, by their place, that go by columns; all others are for `migrate`.

        Raises:
            UnavailableError: a schema id is new, and the registry does not answer.
        """
        if self.rules is not None:
            return {}
        migrated = self._columns.migrate(events)
        for place, event in enumerate(events):
            if are_unreadable(event.headers):
                migrated.pop(place, None)
        return migrated

    def whole(self, events: EventColumns) -> EventColumns | None:
        """Migrate columns; None: not each of these events goes by columns.

        Raises:
            UnavailableError: a schema id is new, and the registry does not answer.
        """
        sizes = events.headers.ends - events.headers.begins
        odd = np.flatnonzero(sizes == len(_UNREADABLE)).tolist()
        if self.rules is not None or any(events.headers[place] == _UNREADABLE for place in odd):
            return None
        return self._columns.whole(events)

    def migrate(self, event: Event) -> Event | Rejected | Skipped:
        """Take an event to the target's schema; all but its value stays.

        An event that is there already passes as it is, and so does a tombstone. The reason of a rejected one quotes
        nothing of its value.

        Raises:
            UnavailableError: its schema id is new, and the registry does not answer.
        """
        value = event.value
        if are_unreadable(event.headers):
            return Rejected("unreadable-headers: a name among them is not UTF-8")
        if value is None or value.startswith(self._prefix):
            return event
        step = self._steps.get(value[:HEADER_SIZE]) or self._step(value)
        if isinstance(step, Rejected):
            return step
        try:
            migrated = step(event, value)
        except Exception as error:  # whatever happens to one value must not stop the others
            return _rejected(error)
        if not isinstance(migrated, bytes):
            return migrated
        return with_value(event, migrated)

    def _written(self, header: bytes) -> AvroSchema | None:
        """Return the schema of values that begin with ``header``, if there is a step for them."""
        return self._schemas[schema_id_of(header)] if header in self._steps else None

    def _step(self, value: bytes) -> _Step | Rejected:
        """Return what migrates values of the schema that ``value`` is written with."""
        try:
            schema_id = schema_id_of(value)
        except WireFormatError as error:
            return Rejected(f"bad-frame: {error.reason}")
        try:
            writer = self._schemas.get(schema_id) or self._ask(schema_id)
            step = self._by_avro(writer) if self.rules is None else self._by_rules(writer, self.rules)
        except UnknownSchemaError:
            return Rejected(f"unknown-schema: schema id {schema_id} is not in the registry")
        except SchemaError as error:
            return Rejected(f"unknown-schema: schema id {schema_id} {error.reason}")
        self._schemas[schema_id] = writer
        self._steps[prefix(schema_id)] = step
        return step

    def _by_avro(self, writer: AvroSchema) -> _Step:
        if not tells_branches(self._target) or not tells_branches(writer):
            return self._by_named_branches(writer)
        decode, encode, framed = self._decode(writer), self._encoder.encode, self._prefix

        return lambda event, value: encode(decode(value, HEADER_SIZE), framed)

    def _decode(self, writer: AvroSchema) -> Callable[[bytes, int], Any]:
        """Return what decodes a value and resolves it to the target's schema."""
        as_written, resolve = Decoder(writer).decode, compile_resolution(writer, self._target)
        if not any(finding.breaks for finding in compare(writer, self._target)):
            return lambda value, start: resolve(as_written(value, start))
        by_avro = Decoder(writer, self._target).decode

        def decode(value: bytes, start: int) -> Any:
            by_avro(value, start)  # whether Avro resolves this one: our own resolution goes by values, not by types
            return resolve(as_written(value, start))

        return decode

    def _by_named_branches(self, writer: AvroSchema) -> _Step:
        """Do as `_by_avro`, by fastavro alone, which can keep branches that decoded values do not tell."""
        wrap = writer.wrapped or self._target.wrapped
        decode = self._decode(writer)  # also sees to it that the bytes are one value, and no more
        source = record_of(writer.inner, writer.named) if wrap else writer.record
        target = record_of(self._target.inner, self._target.named) if wrap else self._target.record
        walk, encode = compile_named(self._target), self._encoder.encode

        def step(event: Event, value: bytes) -> bytes:
            encode(decode(value, HEADER_SIZE))
            stream = BytesIO(value)
            stream.seek(HEADER_SIZE)
            named: Any = fastavro.schemaless_reader(stream, source, target, return_named_type=True)
            shaped = walk(named[WRAPPED] if wrap else named)
            out = BytesIO()
            out.write(self._prefix)
            fastavro.schemaless_writer(out, target, {WRAPPED: shaped} if wrap else shaped)
            return out.getvalue()

        return step

    def _by_rules(self, writer: AvroSchema, rules: RuleSet) -> _Step:
        decode, resolve = Decoder(writer).decode, compile_resolution(writer, self._target, certain=True)
        certain, encode, framed = self._certain, self._encoder.encode, self._prefix

        def step(event: Event, value: bytes) -> bytes | Rejected | Skipped:
            decoded = decode(value, HEADER_SIZE)
            outcome = rules.apply(event, decoded)
            if isinstance(outcome, Corrected):
                decoded = outcome.value
            elif isinstance(outcome, RejectedByRule):
                return Rejected(f"rule-failed: {outcome.rule!r}: {outcome.reason}")
            elif isinstance(outcome, SkippedByRule):
                return Skipped(outcome.reason)
            resolved = resolve(decoded)
            if certain is not None:
                certain(resolved)
            return encode(resolved, framed)

        return step


def _rules_of(recipe: Recipe) -> RuleSet | None:
    if not recipe.rules:
        return None
    body = getattr(parse_migration(recipe.rules, recipe.file), recipe.direction)
    return body and RuleSet(body)


_FROM_A_KEY = re.compile(r"\[[^0-9].*", re.DOTALL)
_ITEM = re.compile(r"\[[0-9]+\]")
_KEY = re.compile(r"has a key \(.*\) that", re.DOTALL)


def _rejected(error: Exception) -> Rejected:
    match error:
        case Misfit():
            # A map's key is part of the value; and items need not be told apart to tell what is wrong.
            where = _ITEM.sub("[*]", _FROM_A_KEY.sub("[…]", error.field))
            reason = _KEY.sub("has a key that", error.reason)
            return Rejected(f"invalid-value: {where or 'the value'} {reason}")
        case IncompatibleSchemaError():
            return Rejected("incompatible-schema: Avro can't resolve it to the target's schema")
        case WireFormatError():
            return Rejected(f"bad-frame: {error.reason}")
        case RecursionError():
            return Rejected("invalid-value: it is nested too deeply")
        case _:
            return Rejected(f"invalid-value: it can't be migrated ({type(error).__name__})")
