"""Consumers' places, translated: what was before an offset is before its place, and all the rest is behind it."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from redrive.errors import GroupInUseError
from redrive.migrations.groups import Groups
from redrive.migrations.positions import Positions
from redrive.migrations.unit import source_offset, way
from tests.stack.migrations.lab import Lab
from tests.stack.platform import wait_until


@pytest.fixture
def lab(stack):
    return Lab.make(stack.endpoints.bootstrap)


def test_every_offset_has_its_place(lab):
    lab.send(["a", "bad", "c"])
    lab.send(["d", "e"], transaction=True)
    lab.send(["no", "no"], transaction=False)
    lab.send(["bad", "f", "g"])
    lab.copy(upto=4)
    lab.copy(operation="op-2")  # a transaction of its own, whose end takes an offset, too
    came = way("one", lab.source, lab.target)
    copies = {m.offset(): source_offset(m.headers()[-1][1], came) for m in lab.read(lab.target)}
    with Positions(lab.client, "one", lab.source, lab.target) as positions:
        for offset in range(13):
            place = positions.in_target(0, offset)
            assert {o for at, o in copies.items() if at < place} == {o for o in copies.values() if o < offset}
            expected = min((o for at, o in copies.items() if at >= place), default=None)
            assert positions.in_source(0, place) == expected


def test_a_place_in_a_partition_without_events_is_its_beginning(lab):
    with Positions(lab.client, "one", lab.source, lab.target) as positions:
        assert (positions.in_target(1, 0), positions.in_source(1, 0)) == (0, None)


def test_a_group_is_moved_and_what_it_has_elsewhere_stays(lab):
    lab.send([f"{number}" for number in range(10)])
    group = f"group-{lab.source}"
    lab.commit(group, lab.source, {0: 4})
    groups = Groups(lab.client)
    [found] = groups.on(lab.source)
    assert (found.name, found.active, found.offsets) == (group, False, {0: 4})
    groups.place(group, lab.target, {0: 2})
    assert groups.on(lab.target, [group])[0].offsets == {0: 2}
    assert groups.on(lab.source, [group])[0].offsets == {0: 4}


def test_a_group_with_members_is_not_moved(lab):
    lab.send(["a"])
    group = f"group-{lab.source}"
    consumer = Consumer(lab.client | {"group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([lab.source])
    wait_until(lambda: consumer.poll(0.5) is not None)
    consumer.commit(asynchronous=False)
    try:
        assert Groups(lab.client).on(lab.source, [group])[0].active
        with pytest.raises(GroupInUseError, match="stop its consumers"):
            Groups(lab.client).place(group, lab.target, {0: 0})
    finally:
        consumer.close()
