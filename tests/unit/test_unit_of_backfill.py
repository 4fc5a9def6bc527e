"""What an event's header says of where it was brought from, and what it does not say."""

from __future__ import annotations

from typing import Any

import pytest

from redrive.migrations.source import events_of
from redrive.migrations.unit import Unit, source_offset

UNIT = Unit("one", "orders", "orders.v2", 3)
BACK = Unit("one", "orders.v2", "orders", 3)


class Record:
    """An event of the source that says where it was brought from."""

    def __init__(self, origin: str) -> None:
        self._origin = origin.encode()

    def headers(self) -> Any:
        return [("redrive-operation", b"op"), ("redrive-source", self._origin)]

    def offset(self) -> int:
        return 9

    def key(self) -> bytes:
        return b"k"

    value = key

    def timestamp(self) -> tuple[int, int]:
        return 1, 1


@pytest.mark.parametrize(
    ("origin", "offset"),
    [
        (UNIT.origins % 5, 5),
        (Unit("one", "orders", "orders.v2", 33).origins % 5, None),
        (BACK.origins % 5, None),
        (f"{UNIT.name}/letters/5/0", None),
        (f"{UNIT.name}/events/5", None),
        (f"{UNIT.name}/events/five/0", None),
    ],
)
def test_an_origin_is_a_place_in_the_same_partition_of_the_source(origin: str, offset: int | None) -> None:
    assert source_offset(origin.encode(), UNIT.name) == offset


def test_what_came_back_to_another_partition_was_passed_on_by_somebody_and_is_copied() -> None:
    came: Any = Record(BACK.origins % 5)
    passed_on: Any = Record(Unit("one", "orders.v2", "orders", 1).origins % 5)
    assert [event.origin for event in events_of([came, passed_on], UNIT)] == [UNIT.origins % 9]
