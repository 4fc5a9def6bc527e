"""What producers find that start after a switch; how one goes while everybody works is in ``test_handover.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive import EventProducer
from redrive.aliases.alias import read_alias
from redrive.aliases.switching import alias_forth, switch
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def test_a_producer_that_starts_later_finds_the_new_topic_and_what_does_not_fit_there_becomes_a_dead_letter(
    house: MovingHouse,
) -> None:
    house.publish(["a", "b"])
    house.publish(["c"], 1)
    with following(house, migration(house)):
        switch(house.config, alias_forth(house.config, migration(house)), operation="forth", settle=0.5)

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
