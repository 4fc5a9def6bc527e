"""What every plan promises, whatever the layout and the goal."""

from __future__ import annotations

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from redrive.errors import GoalError
from redrive.partitions.layout import Layout, Partition
from redrive.partitions.planner import Goal, Plan, plan
from tests.properties.layouts import applied, figures, goals, layouts, per_rack

many = settings(max_examples=40, deadline=None)


@st.composite
def planned(draw: st.DrawFn) -> tuple[Layout, Goal, Plan]:
    layout = draw(layouts())
    goal = draw(goals(layout))
    try:
        return layout, goal, plan(layout, goal)
    except GoalError:
        assume(False)
        raise


def pairs(layout: Layout, made: Plan) -> list[tuple[Partition, Partition]]:
    return list(zip(layout.partitions, applied(layout, made).partitions, strict=True))


@many
@given(planned())
def test_replicas_are_on_distinct_brokers_and_as_many_as_before_or_as_asked_for(
    drawn: tuple[Layout, Goal, Plan],
) -> None:
    layout, goal, made = drawn
    for before, after in pairs(layout, made):
        assert len(set(after.replicas)) == len(after.replicas)
        if goal.mode != "replication_factor":
            assert len(after.replicas) == len(before.replicas)
        elif before.topic not in goal.excluded_topics and len(after.replicas) != goal.replication:
            assert any("can't have" in finding for finding in made.findings)


@many
@given(planned())
def test_what_is_excluded_is_left_alone_and_only_those_give_and_take_that_may(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    everyone = {broker.id for broker in layout.brokers}
    give = goal.brokers if goal.mode == "drain_brokers" else everyone - goal.adds
    take = goal.brokers if goal.mode == "add_brokers" else everyone - goal.drains
    if goal.mode == "leaders":
        give = take = frozenset()
    for before, after in pairs(layout, made):
        gone, came = set(before.replicas) - set(after.replicas), set(after.replicas) - set(before.replicas)
        assert gone <= give - goal.excluded_brokers
        assert came <= take - goal.excluded_brokers - {broker.id for broker in layout.brokers if broker.silent}
        if before.topic in goal.excluded_topics or (
            goal.mode == "drain_brokers" and before.topic.startswith("__amazon")
        ):
            assert after == before
        leaders = {before.replicas[0], after.replicas[0]}
        if len(leaders) == 2 and not gone:
            assert not leaders & goal.excluded_brokers


@many
@given(planned())
def test_no_disk_limit_is_passed_though_all_arrives_before_anything_leaves(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    held = figures(layout)
    for broker in layout.brokers:
        if broker.capacity is not None:
            coming = sum(move.size for move in made.moves if broker.id in move.added)
            assert not coming or held[broker.id][0] + coming <= broker.capacity * goal.disk_limit


@many
@given(planned())
def test_no_partition_is_on_fewer_racks_than_before_or_more_unevenly_on_them(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    if goal.mode == "replication_factor" or any(broker.rack is None for broker in layout.brokers):
        return
    for before, after in pairs(layout, made):
        was, now = per_rack(layout, before), per_rack(layout, after)
        if goal.mode != "drain_brokers":
            assert sum(map(bool, now)) >= sum(map(bool, was))
            assert max(now) <= max(was)
        elif not goal.excluded_brokers:
            left = {broker.rack for broker in layout.brokers} - {None}
            able = [b for b in layout.brokers if b.id not in goal.drains and not b.silent]
            room = {rack: sum(b.rack == rack for b in able) for rack in left}
            if all(number >= len(before.replicas) for number in room.values()) and max(was) - min(was) <= 1:
                assert max(now) - min(now) <= 1


@many
@given(planned())
def test_the_figures_are_those_of_the_layout_with_the_moves_applied(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, _, made = drawn
    assert {f.broker: (f.bytes, f.replicas, f.leaders) for f in made.before} == figures(layout)
    assert {f.broker: (f.bytes, f.replicas, f.leaders) for f in made.after} == figures(applied(layout, made))
    assert made.bytes == sum(move.bytes for move in made.moves)
    assert list(made.moves) == sorted(made.moves, key=lambda move: (move.topic, move.number))


@many
@given(planned())
def test_moves_undone_give_the_layout_they_were_made_from(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, _, made = drawn
    now = {(p.topic, p.number): p.replicas for p in applied(layout, made).partitions}
    for move in made.moves:
        back = move.back()
        assert now[back.topic, back.number] == back.before
        now[back.topic, back.number] = back.after
    assert now == {(p.topic, p.number): p.replicas for p in layout.partitions}


@many
@given(planned(), st.randoms(use_true_random=False))
def test_the_order_in_which_brokers_and_partitions_are_named_makes_no_difference(
    drawn: tuple[Layout, Goal, Plan], random: object
) -> None:
    layout, goal, made = drawn
    brokers, partitions = list(layout.brokers), list(layout.partitions)
    random.shuffle(brokers)  # type: ignore[attr-defined]
    random.shuffle(partitions)  # type: ignore[attr-defined]
    again = plan(Layout(tuple(brokers), tuple(partitions)), goal)
    assert (again.moves, again.findings, again.digest) == (made.moves, made.findings, made.digest)


@many
@given(planned())
def test_every_broker_is_within_its_band_or_the_plan_says_which_is_not(drawn: tuple[Layout, Goal, Plan]) -> None:
    _, goal, made = drawn
    for after in made.after:
        target = made.targets.get(after.broker)
        if target is not None and abs(after.bytes - target) > goal.band * target + 2:
            assert made.findings, after
    if made.bytes < made.least_bytes - len(made.after):
        assert any("outside the band" in finding or "can't leave" in finding for finding in made.findings)


@many
@given(planned())
def test_a_drained_broker_holds_nothing_that_may_leave_or_the_plan_says_what(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    for partition in applied(layout, made).partitions:
        if goal.drains.intersection(partition.replicas) and not goal.stays(partition.topic):
            assert any("can't leave" in finding for finding in made.findings)


@many
@given(planned())
def test_leaders_differ_by_one_at_most_or_the_plan_proves_that_they_must(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    if (
        goal.mode == "replication_factor"
        or goal.excluded_topics
        or goal.excluded_brokers
        or goal.mode == "drain_brokers"
    ):
        return
    leaders = {after.broker: after.leaders for after in made.after}
    proofs = [finding for finding in made.findings if finding.startswith("Leaders can't be even")]
    if max(leaders.values()) - min(leaders.values()) > 1:
        assert proofs
    partitions = applied(layout, made).partitions
    for proof in proofs:
        brokers = {int(i) for i in re.findall(r"\d+", re.findall(r"brokers? ([\d, ]*\d)", proof)[0])}
        if "alone" in proof:
            bound = sum(set(p.replicas) <= brokers for p in partitions)
            assert f" {bound} partitions can be led by" in proof
            assert bound > len(brokers) * len(partitions) / len(leaders)
        else:
            bound = sum(bool(set(p.replicas) & brokers) for p in partitions)
            assert f"can lead {bound} partitions" in proof
            assert bound < len(brokers) * len(partitions) / len(leaders)


@many
@given(planned())
def test_what_comes_of_a_plan_needs_no_more_bytes_to_be_moved(drawn: tuple[Layout, Goal, Plan]) -> None:
    layout, goal, made = drawn
    if made.findings or goal.mode not in ("balance", "leaders", "replication_factor"):
        return
    assert plan(applied(layout, made), goal).bytes == 0
