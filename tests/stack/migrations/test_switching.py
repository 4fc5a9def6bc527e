"""Producers that publish by a topic's name go over to another topic, and back, while they publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive import EventProducer
from redrive.aliases.alias import read_alias
from redrive.aliases.switching import Switched, alias_back, alias_forth, switch
from tests.stack.migrations.live import Publishing, by_key, following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def go_over(house: MovingHouse) -> Switched:
    moved = migration(house)
    return switch(house.config, alias_forth(house.config, moved), operation="forth", settle=0.5)


def test_events_of_producers_that_never_stop_are_in_the_new_topic_once_and_in_order_and_so_they_are_back_in_the_old(
    house: MovingHouse,
) -> None:
    with Publishing(house) as publishing:
        with following(house, migration(house)):
            publishing.wait_until(300)
            switched = go_over(house)
            old = len(house.read(house.orders))
            publishing.wait_until(300)
            assert len(house.read(house.orders)) == old, "somebody still publishes to the old topic"
        alias = alias_back(house.config, house.orders, house.target)
        assert alias is not None
        with following(house, migration(house, "down")):
            switch(house.config, alias, operation="back", settle=0.5)
            new = len(house.read(house.target))
            publishing.wait_until(300)
            assert len(house.read(house.target)) == new, "somebody still publishes to the new topic"
    with following(house, migration(house)):
        pass

    assert (switched.lanes, switched.no_places) == (2, "")
    assert publishing.paths() == {"main", "standby"}
    assert by_key(house.read(house.target), house.registry.reader(house.target).decode) == publishing.published
    assert by_key(house.read(house.orders), house.registry.reader(house.orders).decode, "id") == publishing.published


def test_a_producer_that_starts_later_finds_the_new_topic_and_what_does_not_fit_there_becomes_a_dead_letter(
    house: MovingHouse,
) -> None:
    house.publish(["a", "b"])
    house.publish(["c"], 1)
    with following(house, migration(house)):
        go_over(house)

    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        first = producer.publish(house.orders, "k", {"id": 7, "note": "!now"}).result(20)
        bad = producer.publish(house.orders, "k", {"id": 8, "note": None}).result(20)

    assert (first.path, bad.path) == ("main", "dead_letter")
    assert f"can't go to {house.target}" in bad.refusal
    assert house.moved()[-1] == {"number": 7, "note": "!now", "urgent": True}
    assert len(house.read(house.orders)) == 3
    alias = read_alias({"bootstrap.servers": house.bootstrap}, house.orders)
    assert alias is not None
    assert {p: at for p, (at, _) in alias.places.items()} == {0: 2, 1: 1}
