"""Consumers' places, translated: what was before an offset is before its place, and all the rest is behind it."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer

from redrive.errors import GroupInUseError
from redrive.migrations.crossing import Crossing
from redrive.migrations.groups import Groups
from redrive.migrations.positions import Positions
from redrive.migrations.survey import copied_so_far
from redrive.migrations.unit import source_offset
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
    copies = {m.offset(): source_offset(m.headers()[-1][1], lab.unit().name) for m in lab.read(lab.target)}
    with Positions(lab.client, "one", lab.source, lab.target) as positions:
        for offset in range(13):
            place = positions.in_target(0, offset)
            assert {o for at, o in copies.items() if at < place} == {o for o in copies.values() if o < offset}
            expected = min((o for at, o in copies.items() if at >= place), default=None)
            assert positions.in_source(0, place) == expected


def test_a_place_in_a_partition_without_events_is_its_end(lab):
    with Positions(lab.client, "one", lab.source, lab.target) as positions:
        assert (positions.in_target(1, 0), positions.in_source(1, 0)) == (0, None)


def crossing(lab: Lab, here: str, there: str) -> Crossing:
    ways = (copied_so_far(lab.client, "one", *way) for way in ((here, there), (there, here)))
    return Crossing(lab.client, "one", here, there, *ways)


def test_what_others_have_published_to_the_target_is_not_passed_over(lab):
    lab.send(["a", "b", "c"])
    lab.copy(upto=2)
    lab.send(["new"], topic=lab.target)
    lab.copy(operation="op-2")
    with crossing(lab, lab.source, lab.target) as places:
        assert places.place(0, 1)[1] == ""
        place, obstacle = places.place(0, 3)
    assert "mixed" in obstacle
    (new,) = [message.offset() for message in lab.read(lab.target) if message.value() == b"new"]
    assert place == new  # behind the copies; their transaction's marker may come after it


def test_a_group_that_has_seen_what_was_fed_back_goes_on_behind_it(lab):
    lab.send(["a", "b"])
    lab.copy()
    lab.send(["new 1", "new 2"], topic=lab.target)
    back = Lab(lab.client, lab.target, lab.source)
    back.copy(became=lambda event: event)
    lab.copy(operation="op-2")
    old, new = lab.read(lab.source), lab.read(lab.target)
    assert [m.value() for m in old] == [b"a", b"b", b"new 1", b"new 2"]
    assert [m.value() for m in new] == [b"A", b"B", b"new 1", b"new 2"]
    for here, there, ours, theirs in ((lab.source, lab.target, old, new), (lab.target, lab.source, new, old)):
        with crossing(lab, here, there) as places:
            for seen in range(4):
                assert places.place(0, ours[seen].offset()) == (theirs[seen].offset(), "")


def test_a_group_does_not_leave_behind_what_it_has_not_seen(lab):
    lab.send(["a"])
    lab.copy()
    lab.send(["new"], topic=lab.target)
    with crossing(lab, lab.target, lab.source) as places:
        for at in (0, lab.read(lab.target)[-1].offset() + 1):  # else what it has seen would come to it again
            assert "goal feed_back" in places.place(0, at)[1]
    back = Lab(lab.client, lab.target, lab.source)
    back.copy(became=lambda event: event)
    with crossing(lab, lab.target, lab.source) as places:
        end = lab.read(lab.target)[-1].offset() + 1
        assert places.place(0, end)[1] == ""


def test_a_group_does_not_pass_over_copies_that_retention_has_deleted(lab):
    lab.send(["a", "b", "c"])
    lab.copy()
    lab.delete_before(lab.target, 2)
    with crossing(lab, lab.source, lab.target) as places:
        assert "whose retention has deleted them" in places.place(0, 1)[1]
        assert places.place(0, 2) == (2, "")


def test_what_an_open_transaction_has_written_is_before_nobody(lab):
    lab.send(["a"])
    lab.copy()
    producer = Producer(lab.client | {"transactional.id": lab.target})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(lab.target, b"later", b"k", 0)
    producer.flush()
    with crossing(lab, lab.source, lab.target) as places:
        assert places.place(0, 1) == (2, "")  # after the first, and the end of its transaction
    producer.commit_transaction(30)


def test_a_group_that_is_ahead_of_the_copying_has_to_wait(lab):
    lab.send(["a", "b"])
    lab.copy(upto=1)
    with crossing(lab, lab.source, lab.target) as places:
        assert places.place(0, 1)[1] == ""
        assert "only what is before 1 has been copied" in places.place(0, 2)[1]


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
