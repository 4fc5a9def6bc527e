"""What is told to consumers once the control topic has lost an alias: what they were told before, by the copy kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from redrive.aliases import Alias, restoring, turning
from redrive.aliases.alias import Aliases
from redrive.aliases.turning import alias_back, alias_forth
from redrive.config import Config
from redrive.errors import LateGroupsError, SwitchedBackError, SwitchedError, UnavailableError, UnknownTopicError
from redrive.ledger import Ledger
from redrive.migrations import abandoning
from redrive.migrations.migration import Migration
from redrive.migrations.migrator import Recipe
from redrive.standby.lanes import OPEN, Lane, LaneLog, Topics
from redrive.standby.store import Store
from tasks.operations import Run
from tasks.schema_backfill.kept_aliases import keep_alias, kept_alias
from tests.unit.test_diverted_lanes import Table
from tests.unit.test_way_back import SETTINGS

KEPT = Alias("orders", "orders.v2", "orders.v2", 5, 1, "{}", "rules", "rules.yaml", places={0: (10, 7), 1: (0, 0)})
BACK = replace(KEPT, current="orders", generation=6, places={0: (25, 28), 1: (0, 0)}, earlier=KEPT.places)
UP = Migration("orders", "orders.v2", Recipe(1, {}, "rules", "rules.yaml"), {}, "digest", "")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "redrive.toml").write_text(SETTINGS)
    (tmp_path / "orders.avsc").write_text(json.dumps({"type": "record", "name": "Order", "fields": []}))
    say(monkeypatch, Aliases({}, {}))
    monkeypatch.setattr(turning, "late_groups", lambda *_: [])
    monkeypatch.setattr(turning, "with_lost_places", lambda _, __, alias: alias)  # on topics: see tests/stack
    hold(monkeypatch, {"orders": [30, 0], "orders.v2": [33, 0]})  # 10 … were fed back
    return Config.load(tmp_path / "redrive.toml")


def say(monkeypatch: pytest.MonkeyPatch, aliases: Aliases) -> None:
    """Have the control topic say this."""
    for module in (restoring, turning):
        monkeypatch.setattr(module, "read_aliases", lambda *_: aliases)


def hold(monkeypatch: pytest.MonkeyPatch, ends: dict[str, list[int]]) -> None:
    def end_offsets(_: object, topic: str) -> list[int]:
        if topic not in ends:
            raise UnknownTopicError(topic, "cluster one")
        return ends[topic]

    monkeypatch.setattr(restoring, "end_offsets", end_offsets)


def test_it_is_written_anew_as_it_was_whatever_has_come_to_the_topics_since(config: Config) -> None:
    again = alias_forth(config, UP, kept=KEPT)
    assert again == replace(KEPT, generation=again.generation)
    assert again.generation > 1_000_000_000_000, "members may have heard of one after it that was never ended"


def test_a_record_that_can_not_be_read_is_as_good_as_none(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, Aliases({}, {"orders": "it is malformed"}))
    assert alias_forth(config, UP, kept=KEPT).places == KEPT.places
    anew = alias_forth(config, UP)
    assert anew.current == "orders.v2"
    assert anew.generation > 10**12, "above any that may have been lost"
    back = alias_back(config, "orders", "orders.v2", kept=KEPT)
    assert back is not None
    assert (back.current, back.earlier) == ("orders", KEPT.places)
    with pytest.raises(UnavailableError, match="can't be read"):  # it may well have been switched
        alias_back(config, "orders", "orders.v2")


def test_its_generation_does_not_fall_whatever_the_clock_says(config: Config) -> None:
    assert alias_forth(config, UP, kept=replace(KEPT, generation=2**60)).generation == 2**60 + 1


def test_what_the_control_topic_says_goes_before(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, Aliases({"orders": BACK}, {}))
    assert alias_back(config, "orders", "orders.v2", kept=KEPT) == BACK


def test_producers_are_taken_back_though_it_is_lost(config: Config) -> None:
    back = alias_back(config, "orders", "orders.v2", kept=KEPT)
    assert back is not None
    assert (back.current, back.places, back.earlier) == ("orders", {}, KEPT.places)


def test_groups_are_waited_for_though_it_is_lost(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    late = SimpleNamespace(group="billing", events=3, active=True, partitions={0: (22, 25)})
    monkeypatch.setattr(turning, "late_groups", lambda _, before, __: [late] if before.places == BACK.places else [])
    with pytest.raises(LateGroupsError, match="billing"):
        alias_forth(config, UP, kept=BACK)


@pytest.mark.parametrize(
    "ends",
    [
        {"orders": [9, 0], "orders.v2": [33, 0]},
        {"orders": [30, 0], "orders.v2": [6, 0]},
        {"orders": [30], "orders.v2": [33]},
        {"orders": [30, 0]},
    ],
    ids=["the source", "the target", "with fewer partitions", "not made yet"],
)
def test_of_topics_that_were_made_anew_nothing_is_known(
    config: Config, monkeypatch: pytest.MonkeyPatch, ends: dict[str, list[int]]
) -> None:
    hold(monkeypatch, ends)
    assert alias_forth(config, UP, kept=KEPT).places == {}
    assert alias_back(config, "orders", "orders.v2", kept=KEPT) is None
    assert alias_back(config, "orders", "orders.v2", kept=replace(BACK, places={})) is None


@pytest.mark.parametrize(("obstacle", "unmoved"), [("", False), ("what it has seen and what not are mixed", True)])
def test_without_the_copy_consumers_are_told_places_of_then_or_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch, obstacle: str, unmoved: bool
) -> None:
    """Places of now would lead them past what they have not handled."""
    asked: list[tuple[int, int]] = []

    def place(partition: int, at: int) -> tuple[int, str]:
        asked.append((partition, at))
        return at, obstacle

    crossing = SimpleNamespace(first_returned=lambda partition: (10, None)[partition], place=place)
    monkeypatch.setattr(restoring, "lanes_have_led", lambda *_: "now")
    monkeypatch.setattr(restoring, "copied_so_far", lambda *_: {0: 30, 1: 4})
    monkeypatch.setattr(restoring, "Crossing", lambda *_: nullcontext(crossing))
    monkeypatch.setattr(turning, "with_lost_places", restoring.with_lost_places)
    again = alias_forth(config, UP)
    assert (again.places, again.unmoved) == ({} if obstacle else {0: (10, 10), 1: (4, 4)}, unmoved)
    assert asked == ([(0, 10)] if obstacle else [(0, 10), (1, 4)])


def test_a_target_is_not_given_up_that_lanes_lead_to_or_once_did_though_no_alias_says_so(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Producers would go on to a topic that is made anew by that name, or consumers take their places there for its."""
    store = cast(Store, Table())
    log = LaneLog(store, Lane("one", "orders", 1))
    monkeypatch.setattr(restoring, "open_store", lambda _: store)
    monkeypatch.setattr(abandoning, "read_alias", lambda *_: None)
    monkeypatch.setattr(abandoning, "Groups", lambda _: SimpleNamespace(on=lambda _: []))

    def look() -> None:
        abandoning._see_that_nobody_is_there(config, {}, "orders", "orders.v2")

    look()
    Topics(store, "one").lanes("orders", 2)
    look()
    log.extend(log.state(), OPEN, 1, "an outage of before")
    look()
    log.extend(log.state(), OPEN, 2, "the switch", "orders.v2")
    with pytest.raises(SwitchedError):
        look()
    log.extend(log.state(), OPEN, 3, "the way back")
    with pytest.raises(SwitchedBackError):
        look()
    monkeypatch.setattr(abandoning, "read_alias", lambda *_: replace(KEPT, current="orders", places={}, unmoved=True))
    look()  # it is known that no consumer has followed


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield ledger


def test_the_ledger_keeps_the_last_alias_of_each_name_and_cluster_as_it_is(ledger: Ledger) -> None:
    def run_on(cluster: str) -> Run:
        given: dict[str, Any] = {"cluster": cluster, "resources": [cluster], "who": "x", "parameters": {}}
        operation = ledger.begin("schema-backfill", "run", **given)
        return cast(Run, SimpleNamespace(ledger=ledger, note=operation.note))

    keep_alias(run_on("one"), KEPT)
    keep_alias(run_on("one"), BACK)
    keep_alias(run_on("one"), replace(KEPT, name="refunds"))
    keep_alias(run_on("two"), replace(KEPT, generation=9))
    assert kept_alias(run_on("one"), "one", "orders") == BACK
    assert kept_alias(run_on("one"), "one", "others") is None
    assert ledger.verify_chain() == []
