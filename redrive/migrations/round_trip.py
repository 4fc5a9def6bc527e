"""Taking an event up and down again, to tell before a migration what the way back would lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from redrive.avro.codec import Decoder
from redrive.avro.schema import AvroSchema
from redrive.events import Event
from redrive.migrations.migrator import Ask, Migrator, Recipe
from redrive.migrations.unions import parts
from redrive.pump.model import Rejected, Skipped
from redrive.rules.draft import same
from redrive.wire import HEADER_SIZE, schema_id_of


@dataclass(frozen=True, slots=True)
class Returned:
    """An event that came back.

    Attributes:
        lost: paths of the fields that differ from what they were, such as ``order.lines[*].price``; ``[*]`` is any
            item, or any key of a map; empty: nothing is lost.
    """

    lost: tuple[str, ...]


class RoundTrip:
    """Takes events to a recipe's target and back to the schema that each was written with.

    Args:
        recipe: the way up.
        ask: as for `Migrator`.
    """

    def __init__(self, recipe: Recipe, ask: Ask) -> None:
        self._recipe, self._ask = recipe, ask
        self._up = Migrator(recipe, ask)
        self._ways: dict[int, tuple[Migrator, Decoder, frozenset[str]]] = {}

    def round_trip(self, event: Event) -> Returned | Rejected | Skipped:
        """Say what comes back of an event; a rejection's reason begins with the direction.

        Raises:
            UnavailableError: its schema id is new, and the registry does not answer.
        """
        up = self._up.migrate(event)
        if up is event:  # there already, or a tombstone
            return Returned(())
        if not isinstance(up, Event):
            return replace(up, reason=f"up: {up.reason}")
        assert event.value is not None
        migrator, decoder, names = self._way(schema_id_of(event.value))
        down = migrator.migrate(up)
        if not isinstance(down, Event):
            return replace(down, reason=f"down: {down.reason}")
        assert down.value is not None
        before, after = (decoder.decode(value, HEADER_SIZE) for value in (event.value, down.value))
        return Returned(tuple(dict.fromkeys(_differing(before, after, "", names))))

    def _way(self, schema_id: int) -> tuple[Migrator, Decoder, frozenset[str]]:
        """Return the way down to a schema, what reads it, and the names of all its fields."""
        if schema_id not in self._ways:
            written = self._recipe.schemas.get(schema_id) or self._ask(schema_id)
            schemas = {**self._recipe.schemas, schema_id: written}
            recipe = replace(self._recipe, target=schema_id, schemas=schemas, direction="down")
            self._ways[schema_id] = Migrator(recipe, self._ask), Decoder(written), _field_names(written)
        return self._ways[schema_id]


def _field_names(schema: AvroSchema) -> frozenset[str]:
    records = (part for part in parts(schema) if isinstance(part, dict))
    return frozenset(field["name"] for record in records for field in record.get("fields", ()))


def _differing(before: Any, after: Any, at: str, names: frozenset[str]) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            # A map's keys are part of the value.
            step = (f"{at}.{key}" if at else key) if key in names else f"{at}[*]"
            if key in before and key in after:
                yield from _differing(before[key], after[key], step, names)
            else:
                yield step
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from _differing(one, other, f"{at}[*]", names)
    elif not same(before, after):
        yield at or "the value"
