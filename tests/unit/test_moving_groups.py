"""Which consumer groups are moved, and which are left alone since they would be set back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from redrive.migrations import moving
from redrive.migrations.groups import Group
from redrive.migrations.moving import GroupMove, move_groups
from tests.unit.topics_in_memory import SOURCE, TARGET, Log, Topics, copy_of

Places = dict[int, tuple[int, int]]


class Group0:
    """One group: where it has committed, by topic."""

    def __init__(self, **offsets: int) -> None:
        names = {"source": SOURCE, "target": TARGET}
        self.offsets: dict[str, dict[int, int]] = {names[name]: {0: offset} for name, offset in offsets.items()}
        self.placed: list[tuple[str, Mapping[int, int]]] = []

    def __call__(self, _: object) -> Group0:
        return self

    def on(self, topic: str, names: Sequence[str] = ()) -> list[Group]:
        return [Group("billing", False, self.offsets[topic])] if topic in self.offsets else []

    def place(self, _: str, topic: str, offsets: Mapping[int, int]) -> None:
        self.placed.append((topic, offsets))


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> Topics:
    topics = Topics().use(monkeypatch)
    copies: dict[int, str | None] = {offset: copy_of(offset) for offset in range(10)}
    topics.logs = {SOURCE: Log(dict.fromkeys(range(10))), TARGET: Log(copies | dict.fromkeys(range(10, 20)))}
    return topics


def move(group: Group0, before: Places | None, monkeypatch: pytest.MonkeyPatch) -> GroupMove:
    monkeypatch.setattr(moving, "Groups", group)
    [moved] = move_groups({}, group.on(SOURCE), "one", SOURCE, TARGET, {0: 10}, {}, lambda _: before)
    return moved


def test_a_group_that_is_further_in_the_target_is_not_set_back(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has gone over by itself, or a run has died between its move and the note of that."""
    group = Group0(source=10, target=20)
    assert "it has consumed orders.v2 up to 20, and would be set back to 10" in move(group, None, monkeypatch).reason
    assert group.placed == []


def test_a_group_that_was_moved_to_a_target_that_was_given_up_since_is_moved_to_the_new_one(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group0(source=4)
    assert move(group, {0: (4, 4)}, monkeypatch).reason == ""
    assert group.placed == [(TARGET, {0: 4})]


def test_a_group_that_was_moved_and_has_gone_on_is_left_alone(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group0(source=4, target=7)
    assert move(group, {0: (4, 4)}, monkeypatch) == GroupMove("billing", {0: (4, 4)})
    assert group.placed == []


def test_a_group_that_went_back_and_on_is_moved_again(topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group0(source=8, target=6)
    assert move(group, {0: (4, 4)}, monkeypatch).places == {0: (8, 8)}
    assert group.placed == [(TARGET, {0: 8})]
