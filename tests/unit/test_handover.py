"""What a member of a group decides on its way from one topic to another, by what the group has committed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from confluent_kafka import OFFSET_INVALID
from msgspec.structs import replace

from redrive.aliases import Alias
from redrive.aliases.turning import following
from redrive.consuming import handover
from redrive.consuming.handover import Committed, HandOver
from redrive.consuming.intake import Intake
from redrive.consuming.taken import Place
from redrive.errors import ConfigError

OLD, NEW = ("orders", 0), ("orders.v2", 0)


def alias(current: str = "orders.v2", end: int = 10, begin: int = 7, generation: int = 1) -> Alias:
    return Alias("orders", "orders.v2", current, generation, 1, "{}", places={0: (end, begin)})


def group_at(offsets: Mapping[Place, int]) -> Committed:
    return lambda places: {place: offsets.get(place, OFFSET_INVALID) for place in places}


def over(*aliases: Alias) -> HandOver:
    hand_over = HandOver()
    for each in aliases:
        hand_over.learn(each)
    return hand_over


def claims(hand_over: HandOver, owned: set[Place], offsets: Mapping[Place, int]) -> dict[Place, int]:
    assert hand_over.beginning(owned, group_at(offsets)) == {}
    return hand_over.claims()


def test_the_new_partition_waits_until_the_group_has_committed_the_end_of_the_old_one() -> None:
    hand_over = over(alias())
    assert hand_over.must_wait(NEW)
    assert claims(hand_over, {NEW}, {OLD: 9}) == {}
    assert claims(hand_over, {NEW}, {OLD: 10}) == {NEW: 7}


def test_the_new_partition_is_begun_once_the_whole_group_knows_that_it_is() -> None:
    """Else a switch back in between would find the group where it was, and have it go on there."""
    hand_over = over(alias())
    assert claims(hand_over, {NEW}, {OLD: 10}) == {NEW: 7}
    assert hand_over.beginning({NEW}, group_at({OLD: 10, NEW: 7})) == {NEW: 7}
    assert hand_over.claims() == {}


def test_nothing_is_committed_of_a_partition_that_is_not_ours_any_more() -> None:
    hand_over = over(alias())
    assert claims(hand_over, {NEW}, {OLD: 10}) == {NEW: 7}
    hand_over.lost(NEW)
    assert claims(hand_over, set(), {OLD: 10}) == {}


def test_who_comes_later_goes_on_where_the_group_is_even_if_the_old_topic_is_gone() -> None:
    assert over(alias()).beginning({NEW}, group_at({NEW: 42})) == {NEW: 42}


def test_a_new_group_begins_by_its_settings_once_the_topic_that_was_left_is_gone() -> None:
    hand_over = over(alias())
    assert hand_over.waits_for(NEW) == (OLD, 10)
    assert hand_over.beginning({NEW}, group_at({})) == {}
    assert hand_over.beginning({NEW}, group_at({}), lambda topic: topic == "orders") == {NEW: OFFSET_INVALID}
    assert hand_over.beginning({NEW}, group_at({NEW: 42}), lambda _: True) == {NEW: 42}
    assert hand_over.beginning({NEW}, group_at({OLD: 4}), lambda _: True) == {}, "it is there, as far as the group goes"


def test_nothing_is_taken_of_a_successor_before_an_alias_says_so() -> None:
    hand_over = HandOver(["orders.v2"])
    assert hand_over.must_wait(NEW)
    assert not hand_over.takes(NEW, 0)
    assert hand_over.takes(OLD, 0)


def test_a_place_that_cannot_be_told_now_is_not_guessed() -> None:
    assert over(alias()).beginning({NEW}, lambda _: {}) == {}


def test_the_old_partition_ends_once_all_before_its_end_is_handled() -> None:
    hand_over = over(alias())
    assert hand_over.takes(OLD, 9)
    assert not hand_over.takes(OLD, 10)
    assert hand_over.ended() == {}
    hand_over.done(OLD, 9)
    assert hand_over.ended() == {OLD: 10}
    assert hand_over.ended() == {}


@pytest.mark.parametrize("in_hand", [True, False])
def test_the_old_partition_ends_though_its_last_event_was_deleted_while_it_was_put_back(in_hand: bool) -> None:
    """But not before what is in hand is handled, nor as long as it is not known to be deleted."""
    hand_over = over(alias())
    assert [hand_over.takes(OLD, offset) for offset in (5, 9, 10)] == [True, True, False]
    if not in_hand:
        hand_over.done(OLD, 5)
    hand_over.put_back(OLD, 9)
    assert hand_over.ended() == {}
    assert not hand_over.takes(OLD, 12)
    if in_hand:
        assert hand_over.ended() == {}
        hand_over.done(OLD, 5)
    assert hand_over.ended() == {OLD: 10}


def test_an_old_partition_whose_last_offsets_hold_no_event_ends_at_its_end() -> None:
    hand_over = over(alias())
    hand_over.at_end(OLD, 9)
    assert hand_over.ended() == {}
    hand_over.at_end(OLD, 10)
    assert hand_over.ended() == {OLD: 10}


def test_who_loses_the_new_partition_and_gets_it_again_looks_anew_where_the_group_is() -> None:
    hand_over = over(alias())
    hand_over.begun(NEW, 7)
    assert not hand_over.must_wait(NEW)
    assert [hand_over.takes(NEW, offset) for offset in (6, 7)] == [False, True]
    hand_over.lost(NEW)
    assert hand_over.beginning({NEW}, group_at({OLD: 10, NEW: 20})) == {NEW: 20}


def test_a_group_goes_back_once_it_has_committed_the_end_of_the_new_topic() -> None:
    hand_over = over(alias(), alias("orders", end=30, begin=33, generation=2))
    assert hand_over.beginning({OLD, NEW}, group_at({OLD: 10, NEW: 29})) == {NEW: 29}
    assert claims(hand_over, {OLD}, {OLD: 10, NEW: 30}) == {OLD: 33}


@pytest.fixture
def soon_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look is as good as one that comes later."""
    monkeypatch.setattr(handover, "_SURE_AFTER", 0.0)


@pytest.mark.parametrize(("offsets", "begins"), [({OLD: 4}, 4), ({}, OFFSET_INVALID)])
@pytest.mark.usefixtures("soon_sure")
def test_a_group_that_has_never_gone_over_stays_where_it_is_when_others_go_back(
    offsets: dict[Place, int], begins: int
) -> None:
    hand_over = over(alias("orders", end=30, begin=33, generation=2))
    assert hand_over.beginning({OLD, NEW}, group_at(offsets)) == {}
    assert hand_over.beginning({OLD, NEW}, group_at(offsets)) == {OLD: begins}


@pytest.mark.usefixtures("soon_sure")
def test_whether_it_stays_is_said_by_two_looks_in_a_row_that_were_answered() -> None:
    hand_over = over(alias("orders", end=30, begin=33, generation=2))
    unanswered: Committed = lambda _: {}  # noqa: E731
    for look in (group_at({OLD: 10}), unanswered, group_at({OLD: 10}), group_at({OLD: 10, NEW: 7})):
        assert OLD not in hand_over.beginning({OLD, NEW}, look)
    assert claims(hand_over, {OLD}, {OLD: 10, NEW: 30}) == {OLD: 33}


def test_the_second_look_is_not_as_good_as_that_if_it_comes_at_once() -> None:
    hand_over = over(alias("orders", end=30, begin=33, generation=2))
    assert [hand_over.beginning({OLD}, group_at({OLD: 4})) for _ in range(2)] == [{}, {}]


def test_a_partition_that_was_never_come_back_to_goes_on_where_the_group_is_when_all_go_forth_again() -> None:
    hand_over = over(alias(), alias("orders", end=30, begin=33, generation=2), alias(end=40, begin=44, generation=3))
    assert hand_over.beginning({OLD, NEW}, group_at({OLD: 10, NEW: 20})) == {OLD: 10}
    hand_over.begun(OLD, 10)
    assert [hand_over.takes(OLD, offset) for offset in (10, 39, 40)] == [True, True, False]
    assert claims(hand_over, {OLD, NEW}, {OLD: 40, NEW: 20}) == {NEW: 44}


def test_a_partition_that_was_come_back_to_is_read_on_when_all_go_forth_again() -> None:
    hand_over = over(alias(), alias("orders", end=30, begin=33, generation=2))
    hand_over.begun(OLD, 33)
    hand_over.learn(alias(end=40, begin=44, generation=3))
    assert (hand_over.must_wait(OLD), hand_over.must_wait(NEW)) == (False, True)


def switched_on(before: Alias, places: dict[int, tuple[int, int]] | None = None) -> Alias:
    """What comes after an alias; without places: the switch was cut off before it knew any."""
    left = replace(before, current=before.left, generation=before.generation + 1)
    after = following(before, left)
    return after if places is None or after.unmoved else replace(after, places=places)


def test_a_switch_that_is_taken_back_before_consumers_heard_of_it_leaves_them_where_they_are() -> None:
    back = switched_on(alias(), {0: (30, 33)})
    cut_off = switched_on(back)
    assert (cut_off.places, cut_off.unmoved) == ({}, False)
    taken_back = switched_on(cut_off, {0: (50, 48)})
    assert (taken_back.current, taken_back.unmoved) == ("orders", True)

    hand_over = over(taken_back)
    assert hand_over.beginning({OLD, NEW}, group_at({OLD: 35, NEW: 30})) == {OLD: 35, NEW: 30}
    hand_over.begun(NEW, 30)
    assert not hand_over.takes(NEW, 30), "these are copies of what it has handled"

    forth = switched_on(taken_back, {0: (60, 61)})
    assert (forth.current, forth.places, forth.earlier, forth.unmoved) == (
        "orders.v2", {0: (60, 61)}, {0: (30, 33)}, False,
    )  # fmt: skip


def test_the_first_switch_is_taken_back_without_telling_consumers_anything() -> None:
    cut_off = Alias("orders", "orders.v2", "orders.v2", 1, 1, "{}")
    taken_back = switched_on(cut_off, {0: (50, 48)})
    assert (taken_back.places, taken_back.unmoved) == ({}, True)
    assert switched_on(taken_back, {0: (50, 48)}).places == {0: (50, 48)}


@pytest.mark.parametrize("setting", ["partition.assignment.strategy", "enable.partition.eof"])
def test_settings_that_would_keep_a_group_from_going_over_are_refused(setting: str) -> None:
    client = {"bootstrap.servers": "localhost:1", setting: "range" if "strategy" in setting else "false"}
    with pytest.raises(ConfigError, match=setting):
        Intake(
            "one",
            client,
            "g",
            ["orders"],
            max_poll_interval=60,
            before_commit=lambda *, wait: wait or True,
            successors={"orders": "v2"},
        )
