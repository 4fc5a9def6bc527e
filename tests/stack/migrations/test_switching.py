"""What producers find that start after a switch; how one goes while everybody works is in ``test_handover.py``."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from deployments.local.stack import Stack
from redrive import EventProducer
from redrive.aliases.alias import Alias, read_alias, write_alias
from redrive.aliases.switching import switch
from redrive.aliases.turning import alias_forth
from redrive.errors import ConfigError, UnavailableError
from redrive.pump.names import ALIASES_TOPIC
from redrive.standby.drain import drain, open_store
from redrive.standby.lanes import Lane, Topics
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    return MovingHouse(stack, tmp_path, monkeypatch)


def test_a_producer_that_starts_later_finds_the_new_topic_and_what_does_not_fit_there_becomes_a_dead_letter(
    house: MovingHouse,
) -> None:
    house.publish(["a", "b"])
    house.publish(["c"], 1)
    with following(house.config, migration(house)):
        switch(house.config, alias_forth(house.config, migration(house)), operation="forth", settle=0.5)

    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        first = producer.publish(house.orders, "k", {"id": 7, "note": "!now"}).result(120)
        bad = producer.publish(house.orders, "k", {"id": 8, "note": None}).result(120)

    assert (first.path, bad.path) == ("main", "dead_letter")
    assert f"can't go to {house.target}" in bad.refusal
    assert {"number": 7, "note": "!now", "urgent": True} in house.moved()
    assert len(house.read(house.orders)) == 3
    alias = read_alias({"bootstrap.servers": house.bootstrap}, house.orders)
    assert alias is not None
    assert {p: at for p, (at, _) in alias.places.items()} == {0: 2, 1: 1}


def test_a_third_topic_waits_until_a_way_back_that_was_cut_off_has_been_ended(house: MovingHouse) -> None:
    """Its consumers have not heard of it: nobody would tell them any more where to go."""
    client = house.config.cluster("one").client_config()
    forth = alias_forth(house.config, migration(house))
    elsewhere = msgspec.structs.replace(forth, target="elsewhere", current="elsewhere", places={0: (0, 0), 1: (0, 0)})
    write_alias(client, elsewhere)
    cut_off = msgspec.structs.replace(elsewhere, current=house.orders, generation=elsewhere.generation + 1, places={})
    write_alias(client, cut_off)
    with pytest.raises(ConfigError, match=r"taken back from elsewhere.*Run it again first \(goal switch_back\)"):
        alias_forth(house.config, migration(house), may_lag=["*"])


def outage(house: MovingHouse) -> list[Lane]:
    """Have producers of orders store what they publish, as one of them does it in an outage; give the lanes."""
    store = open_store(house.config)
    lanes = [
        Lane("one", house.orders, at)
        for at in range(Topics(store, "one").lanes(house.orders, house.config.topic(house.orders).lanes))
    ]
    for lane in lanes:
        assert (
            LaneWriter(store, lane, "another", clock=SystemClock(), grace=1.0, seal_wait=15.0).enter(must_divert=True)
            is Entry.STANDBY
        )
    return lanes


def write_record(house: MovingHouse, record: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": house.bootstrap})
    producer.produce(ALIASES_TOPIC, record, house.orders.encode(), 0)
    assert producer.flush(10) == 0


def replay(house: MovingHouse, lanes: list[Lane]) -> int:
    return sum(drain(house.config, lane, operation="replay", settle=0.5).outcome.published for lane in lanes)


def test_after_a_switch_what_was_stored_in_an_outage_is_replayed_to_the_new_topic_whatever_came_back_to_the_old_one(
    house: MovingHouse,
) -> None:
    house.publish(["a"])
    kept: list[Alias] = []
    with following(house.config, migration(house)):
        forth = alias_forth(house.config, migration(house))
        switch(house.config, forth, operation="forth", settle=0.5, keep=kept.append)
    house.publish_new(["b", "c"])
    with following(house.config, migration(house, "down")):
        pass
    assert len(house.read(house.orders)) == 3

    lanes = outage(house)
    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        assert producer.publish(house.orders, "k", {"id": 7, "note": "d"}).result(120).path == "standby"
    assert replay(house, lanes) == 1
    assert 7 in [order["number"] for order in house.moved()]
    assert len(house.read(house.orders)) == 3

    outage(house)
    house.publish(["not from there"])
    with pytest.raises(UnavailableError, match="goal copy"):
        replay(house, lanes[:1])

    said = read_alias({"bootstrap.servers": house.bootstrap}, house.orders)
    write_record(house, b"hello")
    with pytest.raises(UnavailableError, match=r"can't be read.*--goal switch_producers"):
        replay(house, lanes[:1])
    with following(house.config, migration(house)):
        switch(house.config, alias_forth(house.config, migration(house)), operation="again", settle=0.5)
    again = read_alias({"bootstrap.servers": house.bootstrap}, house.orders)
    assert said is not None
    assert again is not None
    assert again.generation > said.generation
    assert (again.current, again.schema_id, again.schema, again.rules) == (
        said.current, said.schema_id, said.schema, said.rules,
    )  # fmt: skip
    assert "not from there" in [order["note"] for order in house.moved()]

    write_record(house, None)
    with pytest.raises(UnavailableError, match="--goal switch_producers"):
        replay(house, lanes[:1])

    # What came back lies behind the end that consumers were told; so the alias is to say that one again.
    for copy in (kept[0], None):
        again = alias_forth(house.config, migration(house), kept=copy)
        assert again.generation > 1_000_000_000_000, "who has followed the alias that is lost would not follow this one"
        assert again.places == kept[0].places
    assert set(kept[0].places) == {0, 1}
