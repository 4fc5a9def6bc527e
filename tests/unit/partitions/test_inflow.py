"""How much producers write, where sizes of logs do not tell."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from redrive.partitions import inflow
from redrive.partitions.reader import PartitionReader
from redrive.partitions.state import Key, LogDirs, PartitionState

GREW, SHRANK, SILENT, EMPTY = (("t", number) for number in range(4))


class Told(PartitionReader):
    """Two looks, ten seconds apart: what logs hold, and their first and last offsets."""

    def __init__(self) -> None:
        self.looks = 0
        self.sizes: list[dict[int, dict[Key, int]]] = [
            {1: {GREW: 1_000, SHRANK: 5_000, EMPTY: 700}, 2: {SILENT: 2_000}},
            {1: {GREW: 1_500, SHRANK: 4_000, EMPTY: 0}, 2: {SILENT: 4_000}},
        ]
        self.firsts = {GREW: 0, SHRANK: 60, SILENT: 100, EMPTY: 90}
        self.lasts = [{GREW: 10, SHRANK: 80, SILENT: 300, EMPTY: 80}, {GREW: 99, SHRANK: 100, SILENT: 500, EMPTY: 90}]

    def partitions(self, topics: Iterable[str] | None = None) -> dict[Key, PartitionState]:
        leaders = {GREW: 1, SHRANK: 1, SILENT: 3, EMPTY: 1}
        return {
            key: PartitionState(*key, (leader, 2), leader, frozenset({leader, 2})) for key, leader in leaders.items()
        }

    def log_dirs(self, brokers: Iterable[int], of: Iterable[Key] | None = None) -> dict[int, LogDirs]:
        sizes = self.sizes[self.looks]
        return {id_: LogDirs(sizes[id_]) if id_ in sizes else LogDirs(unknown="no answer") for id_ in brokers}

    def offsets(self, partitions: Iterable[Key], *, first: bool = False) -> dict[Key, int]:
        told = self.firsts if first else self.lasts[self.looks]
        return {key: told[key] for key in partitions}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(inflow.time, "monotonic", lambda: 10.0 * told.looks)
    return told


def measured(reader: Told) -> dict[Key, float]:
    def sleep(_: float) -> None:
        reader.looks = 1

    return inflow.measure(reader, reader.partitions(), 10, sleep)


def test_sizes_tell_what_is_written_and_offsets_where_kafka_has_deleted_meanwhile(reader: Told) -> None:
    found = measured(reader)
    assert found[GREW] == 50.0
    assert found[SHRANK] == 20 * 4_000 / 40 / 10  # 20 events in 10 s; those that are left have 100 bytes each
    assert EMPTY not in found  # all is deleted: nobody knows how large events were


def test_what_nobody_tells_the_offsets_of_is_not_known(reader: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "offsets", lambda *_, **__: {})
    assert measured(reader) == {GREW: 50.0}


def test_a_silent_leader_s_log_is_taken_to_be_as_large_as_its_followers(reader: Told) -> None:
    assert measured(reader)[SILENT] == 200 * 4_000 / 400 / 10


def test_what_is_not_written_to_gets_nothing(reader: Told) -> None:
    reader.lasts[1][SHRANK] = reader.lasts[0][SHRANK]
    assert measured(reader)[SHRANK] == 0.0
