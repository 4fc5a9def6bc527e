"""Which schemas a backlog was written with, and whether the registry still knows them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from redrive.config import Config
from redrive.errors import SchemaError, UnavailableError, UnknownSchemaError, WireFormatError
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored, unpack
from redrive.standby.lanes import LaneLog
from redrive.standby.store import Store
from redrive.standby.survey import LaneBacklog
from redrive.wire import schema_id_of

SAMPLE = 50_000
"""Events that `sample_schema_ids` looks at, at most: about a second's reading."""


@dataclass(frozen=True, slots=True)
class SchemaIds:
    """The schema ids that were found in a backlog, or in a sample of it.

    Attributes:
        ids: schema id → events that carry it.
        without: events without a schema id: tombstones, and values that are not in Confluent's frame.
        unknown: those of the ids that the registry does not know: no consumer can read their events.
        not_asked: why the registry was not asked; empty if it was.
    """

    ids: dict[int, int] = field(default_factory=dict)
    without: int = 0
    unknown: tuple[int, ...] = ()
    not_asked: str = ""

    @property
    def looked_at(self) -> int:
        """How many events were looked at."""
        return sum(self.ids.values()) + self.without


def sample_schema_ids(config: Config, store: Store, backlog: Sequence[LaneBacklog]) -> SchemaIds:
    """Look at the first events of every stream, at most about `SAMPLE` in all; ask the registry for each id.

    A registry that does not answer is no error: a replay does not need it.

    Raises:
        UnavailableError: the store does not answer.
    """
    share = max(1, SAMPLE // max(1, sum(lane.streams for lane in backlog)))
    ids, without = count_schema_ids(store, backlog, share)
    try:
        unknown = unknown_ids(config, ids)
    except UnavailableError as error:
        return SchemaIds(dict(ids), without, not_asked=str(error))
    return SchemaIds(dict(ids), without, unknown)


def count_schema_ids(store: Store, backlog: Iterable[LaneBacklog], share: float = math.inf) -> tuple[Counter[int], int]:
    """Count the events of a backlog by schema id, and those without one; of each stream about the first ``share``.

    Raises:
        UnavailableError: the store does not answer.
    """
    ids: Counter[int] = Counter()
    without = 0
    for stored in _heads(store, backlog, share):
        try:
            ids[schema_id_of(stored.value or b"")] += 1
        except WireFormatError:
            without += 1
    return ids, without


def unknown_ids(config: Config, ids: Iterable[int]) -> tuple[int, ...]:
    """Tell which schema ids the registry does not know.

    Raises:
        UnavailableError: the registry does not answer.
    """
    registry = SchemaRegistry(config.registry_client_config())
    unknown = []
    try:
        for schema_id in sorted(ids):
            try:
                registry.schema(schema_id)
            except UnknownSchemaError:
                unknown.append(schema_id)
            except SchemaError:
                continue  # it is known; whether it can be used is not the question
    finally:
        registry.close()
    return tuple(unknown)


def _heads(store: Store, backlog: Iterable[LaneBacklog], share: float) -> Iterator[Stored]:
    """Yield the first batches of each stream, until there are ``share`` events."""
    for waiting in backlog:
        log = LaneLog(store, waiting.lane)
        for epoch in waiting.epochs:
            for producer in log.producers(epoch):
                left = share
                for _, _, batch in unpack(store.read(waiting.lane.stream(epoch, producer), 0)):
                    yield from batch
                    left -= len(batch)
                    if left <= 0:
                        break
