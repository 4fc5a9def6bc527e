"""What health finds in a topic that producers were taken from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.aliases.alias import Alias, write_alias
from redrive.health import stayed
from redrive.health.changes import UNWELL, changes, look_of
from redrive.health.facts import Facts, Stayed, Unknown
from redrive.health.judging import judge
from redrive.health.stayed import read_stayed
from redrive.ledger import Ledger
from redrive.migrations.unit import Unit
from redrive.pump.names import SOURCE_HEADER
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(300)
NOT_ASKED = Unknown("not asked here", "not-asked")


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def look(house: MovingHouse) -> Stayed:
    """Look, remember it as the job does, and give what was found of the orders; the stack is shared."""
    config = house.config
    found, _ = read_stayed(config, "one", 60)
    facts = Facts(
        "one", datetime.now(UTC), 0.1, frozenset(), NOT_ASKED, NOT_ASKED, NOT_ASKED, NOT_ASKED, NOT_ASKED, stayed=found
    )
    with Ledger.open(config.ledger_url()) as ledger:
        ledger.looks.enter(look_of(judge(facts), ledger.looks.last("one")))
    [ours] = [each for each in found if each.name == house.orders]
    return ours


def test_what_producers_publish_that_stayed_behind_is_counted_once_and_told_till_it_is_copied_and_they_have_stopped(
    house: MovingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stayed, "BUDGET", 60.0)  # other tests' names are looked at, too, and the machine is busy
    moved = migration(house)
    house.publish(["before", "the switch"])
    write_alias(
        {"bootstrap.servers": house.bootstrap},
        Alias(house.orders, house.target, house.target, 1, 1, "{}", places={0: (2, 2), 1: (0, 0)}),
    )
    unit = Unit("one", house.target, house.orders, 0)
    fed_back = [("ce_id", b"an id"), (SOURCE_HEADER, (unit.origins % 5).encode())]
    house.send(house.orders, house.orders_of([2]), headers=fed_back)
    assert (look(house).events, look(house).is_whole) == (0, True)

    house.publish(["late", "later"], first=3)
    house.publish(["too"], 1, first=5)
    found = look(house)
    assert (found.topic, found.events, found.is_copied, found.read_to) == (house.orders, 3, False, {0: 5, 1: 1})
    assert look(house) == found, "what was read is not counted again"

    with following(house.config, moved):
        pass
    found = look(house)
    assert (found.events, found.is_copied) == (3, True)

    facts = Facts(
        "one", datetime.now(UTC), 0.1, frozenset(), NOT_ASKED, NOT_ASKED, NOT_ASKED, NOT_ASKED, NOT_ASKED,
        stayed=(replace(found, is_copied=False),),
    )  # fmt: skip
    [change] = changes(None, judge(facts))
    assert change.name == UNWELL
    [reason] = [each for each in change.payload["reasons"] if house.orders in each["what"]]
    assert "3 events have come to" in reason["what"]
    assert f"redrive run schema-backfill {house.orders} {house.target} --goal copy" in reason["way_out"]
