"""What a picture of a cluster says when brokers do not tell what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from redrive.errors import UnavailableError
from redrive.partitions.cautions import cautions
from redrive.partitions.layout import Move
from redrive.partitions.picture import Picture
from redrive.partitions.planner import Goal
from redrive.partitions.reader import PartitionReader, _log_dirs
from redrive.partitions.rebalancing import plan_of
from redrive.partitions.state import BrokerState, Key, LogDirs, Ongoing, PartitionState, Resource, Setting

GB = 10**9
SILENT = LogDirs(unknown="broker does not answer in 1 s")
DRAIN = Goal("drain_brokers", brokers=frozenset({3}))


class Told(PartitionReader):
    """Four brokers: twelve partitions on three of them, 100 GB each; what a test says of disks comes first."""

    def __init__(self, disks: Mapping[int, LogDirs] | None = None, *, down: Iterable[int] = ()) -> None:
        self.cluster = "east"
        self.disks, self.down = dict(disks or {}), set(down)

    def brokers(self) -> dict[int, BrokerState]:
        return {id_: BrokerState(id_, None, up=id_ not in self.down) for id_ in range(1, 5)}

    def partitions(self, topics: Iterable[str] | None = None) -> dict[Key, PartitionState]:
        found = {}
        for number in range(12):
            replicas = ((1, 2, 3), (2, 3, 1), (3, 1, 2))[number % 3]
            alive = [id_ for id_ in replicas if id_ not in self.down]
            leader = alive[0] if alive else None
            found["t", number] = PartitionState("t", number, replicas, leader, frozenset(alive))
        return found

    def ongoing(self) -> dict[Key, Ongoing]:
        return {}

    def settings(self, resources: Iterable[Resource], names: Iterable[str]) -> dict[Resource, dict[str, Setting]]:
        return {}

    def log_dirs(self, brokers: Iterable[int], of: Iterable[Key] | None = None) -> dict[int, LogDirs]:
        return {id_: self.disks.get(id_) or self.full_of(id_) for id_ in brokers}

    def full_of(self, broker: int, **more: Any) -> LogDirs:
        """Give the disks of a broker that tells all."""
        sizes = {key: 100 * GB for key, each in self.partitions().items() if broker in each.replicas}
        return LogDirs(sizes, **{"total": 10_000 * GB, "usable": 8_000 * GB} | more)


def silent(*brokers: int) -> Told:
    return Told(dict.fromkeys(brokers, SILENT))


def test_what_a_silent_leader_holds_is_told_by_its_followers() -> None:
    every, but_one = plan_of(Picture.take(Told()), DRAIN), plan_of(Picture.take(silent(1)), DRAIN)
    assert every.bytes == but_one.bytes == 1_200 * GB
    assert not Picture.take(silent(1, 2)).unsized


def test_where_nobody_tells_how_large_partitions_are_nothing_that_copies_is_planned() -> None:
    picture = Picture.take(silent(1, 2, 3))
    assert len(picture.unsized) == 12
    with pytest.raises(UnavailableError, match=r"the size of t/0 and 11 other partitions .* broker 1 does not tell"):
        plan_of(picture, DRAIN)
    assert plan_of(picture, Goal("leaders")).bytes == 0


def test_what_no_broker_that_is_up_holds_keeps_nothing_else_from_being_planned_and_is_told() -> None:
    picture = Picture.take(Told(down=[1, 2, 3]))
    picture.require_sizes()
    to_four = Move("t", 0, (1, 2, 3), (4, 2, 3))
    (told,) = cautions([to_four], {}, picture.unsized)
    assert told.startswith("It is not known how large they are, and they count as nothing: t/0.")
    assert cautions([to_four], {}, Picture.take(Told()).unsized) == []


def test_a_broker_that_does_not_tell_its_disks_or_has_lost_one_gets_nothing_and_gives_nothing_by_that() -> None:
    told = Told()
    failed = told.full_of(1, total=None, usable=None, unknown="/data/b: KafkaStorageError")
    made = plan_of(Picture.take(Told({4: SILENT, 1: failed})), Goal("balance"))
    assert made.moves == ()
    assert [words.split(",")[0] for words in made.findings[:2]] == [
        "broker 1: nothing comes to it",
        "broker 4: nothing comes to it",
    ]
    assert "KafkaStorageError" in made.findings[0]
    assert plan_of(Picture.take(told), Goal("balance")).bytes > 0


def test_a_new_broker_that_does_not_tell_its_disks_is_no_reason_to_say_that_nothing_is_to_be_moved() -> None:
    for named in (frozenset({4}), frozenset[int]()):
        with pytest.raises(UnavailableError, match="broker 4 is unavailable: it does not tell its disks"):
            plan_of(Picture.take(silent(4)), Goal("add_brokers", brokers=named))


def test_a_disk_that_somebody_else_fills_is_filled_no_more_than_its_limit() -> None:
    told = Told()
    told.disks[4] = LogDirs({}, 10_000 * GB, 500 * GB)
    made = plan_of(Picture.take(told), Goal("add_brokers", brokers=frozenset({4})))
    assert 0 < made.bytes <= 0.85 * 500 * GB
    assert any("disk limit" in finding for finding in made.findings)


def directory(name: str, total: int, usable: int, error: int = 0) -> dict[str, Any]:
    return {"log_dir": name, "error_code": error, "topics": [], "total_bytes": total, "usable_bytes": usable}


@pytest.mark.parametrize(
    ("directories", "total", "usable"),
    [
        ([directory("/a", 1_000, 900), directory("/b", 1_000, 899)], 1_000, 899),  # one volume, asked about twice
        ([directory("/a", 1_000, 900), directory("/b", 1_000, 850)], 2_000, 1_750),
        ([directory("/a", 1_000, 900), directory("/b", 2_000, 900)], 3_000, 1_800),
        ([directory("/a", 1_000, 900), directory("/b", -1, -1, 56)], None, None),
        ([], None, None),
    ],
)
def test_a_volume_with_several_directories_counts_once(
    directories: list[dict[str, Any]], total: int | None, usable: int | None
) -> None:
    told = _log_dirs(directories)
    assert (told.total, told.usable) == (total, usable)


def test_what_replicas_can_take_up_is_what_they_take_and_what_is_free() -> None:
    assert LogDirs({("t", 0): 200}, 1_000, 100).capacity == 300
    assert LogDirs({("t", 0): 200}).capacity is None


def test_a_topic_that_has_just_been_made_has_no_size_yet_and_that_is_no_lack() -> None:
    assert not Picture.take(Told({1: LogDirs({}, 1, 1), 2: LogDirs({}, 1, 1), 3: LogDirs({}, 1, 1)})).unsized
