"""Partitions that are compared by other processes: what is found there is found here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.migrations.comparing import verify_partition
from redrive.migrations.migration import Migration
from redrive.migrations.survey import survey
from redrive.migrations.verifying import Checked, Compacts
from redrive.pump.workers import Workers
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import RULES, MovingHouse


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    house = MovingHouse(stack, tmp_path, monkeypatch)
    house.publish(["a", "!b", "c"])
    house.publish(["d"], partition=1)
    with following(house.config, migration(house)):
        pass
    return house


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


def compared(
    house: MovingHouse, workers: Workers, moved: Migration, digest: str, *, compacted: bool = False, **options: int
) -> list[Checked]:
    client = house.config.cluster("one").client_config()
    standings = survey(client, "one", moved.source, moved.target, digest)
    given = {"parked": frozenset[int](), "compacts": Compacts(target=compacted)} | options
    return [verify_partition(workers, client, moved.spec, each.unit, each.end, **given) for each in standings]


def test_another_process_finds_all_events_with_their_values(house: MovingHouse, workers: Workers) -> None:
    moved = migration(house)
    found = compared(house, workers, moved, moved.digest)
    assert [(each.events, each.found, each.compared, each.findings) for each in found] == [(3, 3, 3, []), (1, 1, 1, [])]


def test_a_value_that_the_migration_does_not_make_is_found_there_and_told_here(
    house: MovingHouse, workers: Workers
) -> None:
    copied = migration(house)
    rules = RULES.format(topic=house.orders).replace("value: true", "value: false")
    (house.file.parent / "rules.yaml").write_text(rules)
    first, second = compared(house, workers, migration(house), copied.digest)
    assert first.findings == [f"{first.unit}@1: its value is not what the migration makes of it"]
    assert second.findings == []


def test_two_processes_find_by_pieces_of_a_partition_what_one_finds_of_the_whole(
    house: MovingHouse, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish([f"{number}" for number in range(50)], first=3)
    house.publish([None, *"abc"], first=53)  # no rule is for the first of these
    with following(house.config, moved := migration(house)):
        pass
    house.publish_new(["somebody's own"])
    parts: list[int] = []
    call_each = Workers.call_each
    monkeypatch.setattr(
        Workers, "call_each", lambda self, work, each: parts.append(len(each)) or call_each(self, work, each)
    )
    whole, _ = compared(house, workers, moved, moved.digest)
    pieces, _ = compared(house, workers, moved, moved.digest, least=10)
    compared(
        house, workers, moved, moved.digest, compacted=True, least=10
    )  # there, what is missing is told by the rest
    assert parts == [1, 1, 2, 1, 1, 1]
    whole.seconds = pieces.seconds = 0.0
    assert pieces == whole
    assert (whole.events, whole.found) == (57, 56)
    assert whole.findings == [f"{whole.unit}@53 is neither in {moved.target} nor in redrive.parked"]
    assert whole.foreign is not None
