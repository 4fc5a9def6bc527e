"""What waits in the standby store. Slots never change, and stay until all is published: each is counted once.

How far that has come is remembered with the look. So a look costs what has come since the last one, however long an
outage lasts; a first one that finds more than it can count in time goes on with the next.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from redrive.config import Config
from redrive.health.facts import Standby
from redrive.health.last import last_look
from redrive.standby.drain import open_store
from redrive.standby.survey import Tally, survey

BUDGET = 4.0
"""Seconds after which nothing more is asked; what is not counted by then, the next look counts."""


def read_standby(config: Config, cluster: str, budget: float = BUDGET) -> Standby:
    """Count what waits for a cluster in the standby store.

    Raises:
        UnavailableError: the store does not answer.
        OutOfTimeError: it is so slow that not even the state of all lanes could be read.
        ConfigError: it refuses, or has no such table.
    """
    store, before = open_store(config), last_look(config, cluster)
    known = tallies(before.counted, store.table) if before else {}
    lanes = survey(store, cluster, known=known, until=time.monotonic() + budget)
    oldest = min((lane.oldest for lane in lanes if lane.oldest is not None), default=None)
    return Standby(
        lanes=len(lanes),
        diverted=sum(not lane.is_open for lane in lanes),
        events=sum(lane.events for lane in lanes),
        bytes=sum(lane.bytes for lane in lanes),
        oldest=None if oldest is None else datetime.fromtimestamp(oldest / 1000, UTC),
        is_whole=all(lane.is_whole for lane in lanes),
        counted=document(store.table, {pk: tally for lane in lanes for pk, tally in lane.tallies.items()}),
    )


def document(table: str, counted: Mapping[str, Tally]) -> dict[str, Any]:
    """Give what is remembered: of which table, and of each stream how far it was counted, and what was found."""
    return {"table": table, "streams": {pk: list(tally) for pk, tally in counted.items()}} if counted else {}


def tallies(remembered: Mapping[str, Any], table: str) -> dict[str, Tally]:
    """Give the same back. Of another table, such as one that was restored, nothing is known."""
    if remembered.get("table") != table:
        return {}
    return {pk: Tally(*tally) for pk, tally in remembered["streams"].items()}
