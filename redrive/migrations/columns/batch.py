"""Which events of a batch go by columns: those that share a schema, if columns are for it."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from redrive.avro.schema import AvroSchema
from redrive.columnar.events import EventColumns
from redrive.columnar.records import as_bytes
from redrive.events import Event, with_value
from redrive.migrations.columns.coverage import FEWEST, Cover, cover
from redrive.wire import HEADER_SIZE, schema_id_of

if TYPE_CHECKING:
    from redrive.migrations.columns.columns import Columns

log = logging.getLogger(__name__)

_GIVE_UP_AFTER = 10
"""So many batches in a row of which columns take nothing: to try on would cost time, and win none."""


_IN_PARTS = 50
"""For so many batches it is not tried to take them as a whole, after so many in a row that could not be."""


class ByColumns:
    """Takes events to one schema by columns, as far as those are for them. Not for several threads at once.

    Args:
        target: the schema.
        prefix: the frame of its values.
        migrate: the per-event way.
        written: the schema that values with a header are written with; None as long as the per-event way does not know
            it, or can't migrate from it.
    """

    def __init__(
        self,
        target: AvroSchema,
        prefix: bytes,
        migrate: Callable[[Event], object],
        written: Callable[[bytes], AvroSchema | None],
    ) -> None:
        self._target, self._prefix = target, prefix
        self._migrate, self._written = migrate, written
        self._columns: dict[bytes, Columns | None] = {}
        self._in_vain: Counter[bytes] = Counter()
        self._not_whole: Counter[bytes] = Counter()
        self._in_parts: Counter[bytes] = Counter()

    def migrate(self, events: Sequence[Event]) -> dict[int, Event]:
        """Return what became of events, by their place in ``events``; all others are for the per-event way.

        Raises:
            UnavailableError: a schema id is new, and the registry does not answer.
        """
        groups: defaultdict[bytes, list[int]] = defaultdict(list)
        for place, event in enumerate(events):
            if event.value is not None:
                groups[event.value[:HEADER_SIZE]].append(place)
        groups.pop(self._prefix, None)
        migrated: dict[int, Event] = {}
        for header, places in groups.items():
            if len(places) >= FEWEST:
                migrated |= self._group(header, events, places)
        return migrated

    def whole(self, events: EventColumns) -> EventColumns | None:
        """Do as `migrate`, if it takes all of them; None if it does not.

        Raises:
            UnavailableError: a schema id is new, and the registry does not answer.
        """
        from redrive.columnar import loops

        header = (events.values[0] or b"")[:HEADER_SIZE] if len(events) >= FEWEST else b""
        if not header or header == self._prefix or not loops.begin_with(*events.values.plain, as_bytes(header)):
            return None
        if self._in_parts[header]:
            self._in_parts[header] -= 1
            return None
        columns = self._columns_for(header, events[0])
        if columns is None:
            return None
        values = columns.whole(events.values, header, self._prefix)
        self._tell(header, whole=values is not None)
        if values is None:
            return None
        migrated = replace(events, values=values)
        if self._migrate(events[0]) != migrated[0]:
            self._distrust(header)
            return None
        return migrated

    def _tell(self, header: bytes, *, whole: bool) -> None:
        """Take note of whether a batch could be taken as a whole."""
        self._not_whole[header] = 0 if whole else self._not_whole[header] + 1
        if self._not_whole[header] >= _GIVE_UP_AFTER:
            self._in_parts[header] = _IN_PARTS
            log.info("schema id %d: each batch has an unusual value, and goes in parts", schema_id_of(header))

    def _distrust(self, header: bytes) -> None:
        log.error(
            "schema id %d: columns gave other bytes than the per-event way, and are not used for it any more",
            schema_id_of(header),
        )
        self._columns[header] = None

    def _group(self, header: bytes, events: Sequence[Event], places: list[int]) -> dict[int, Event]:
        columns = self._columns_for(header, events[places[0]])
        if columns is None:
            return {}
        bodies = columns.migrate([(events[place].value or b"")[HEADER_SIZE:] for place in places])
        migrated = {
            place: with_value(events[place], self._prefix + body)
            for place, body in zip(places, bodies, strict=True)
            if body is not None
        }
        tried = next(iter(migrated), None)
        if tried is not None and self._migrate(events[tried]) != migrated[tried]:
            self._distrust(header)
            return {}
        self._in_vain[header] = 0 if migrated else self._in_vain[header] + 1
        if self._in_vain[header] == _GIVE_UP_AFTER:
            log.warning(
                "schema id %d: columns took none of the last %d batches (%s), and are not used for it any more",
                schema_id_of(header), _GIVE_UP_AFTER, columns.trouble or "each value is unusual",
            )  # fmt: skip
            self._columns[header] = None
        return migrated

    def _columns_for(self, header: bytes, event: Event) -> Columns | None:
        """Return what migrates values with a header; ``event`` has one."""
        if header not in self._columns:
            self._migrate(event)  # after that, its schema is known, if it can be
            written = self._written(header)
            if written is None:
                return None
            covered = cover(written, self._target)
            columns = self._columns[header] = None if covered is None else _columns(covered)
            if columns is None:
                log.info("schema id %d: events are migrated one by one, columns are not for it", schema_id_of(header))
        return self._columns[header]


def _columns(covered: Cover) -> Columns | None:
    try:
        from redrive.migrations.columns.columns import Columns

        return Columns(covered)
    except Exception as error:  # what can't be made ready, or not even be imported, is not used
        log.warning("columns can't be made ready: %s: %s", type(error).__name__, error)
        return None
