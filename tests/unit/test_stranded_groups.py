"""Producers are not switched where consumers could not be told where to go on, and nobody stores for that."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from redrive.aliases import switching
from redrive.aliases.alias import Alias, Aliases
from redrive.aliases.switching import is_under_way, switch
from redrive.errors import StrandedGroupsError
from redrive.migrations.groups import Group
from redrive.standby.lanes import LaneState
from tests.unit.topics_in_memory import SOURCE, TARGET, Log, Topics, copy_of

FORTH = Alias(SOURCE, TARGET, TARGET, 7, 1, "{}")


class BegunError(Exception):
    """Producers would store from here on."""


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> Topics:
    """A target in which an event of another's lies between two copies, and that was never fed back."""
    topics = Topics().use(monkeypatch)
    topics.logs = {
        SOURCE: Log(dict.fromkeys(range(3))),
        TARGET: Log({0: copy_of(0), 1: copy_of(1), 2: None, 3: copy_of(2)}),
    }

    def begun(*_: object) -> None:
        raise BegunError

    groups = SimpleNamespace(on=lambda topic: [Group("billing", True, {0: 1})] if topic == SOURCE else [])
    monkeypatch.setattr(switching, "copied_so_far", lambda *way: {0: 3} if way[2:] == (SOURCE, TARGET) else {})
    monkeypatch.setattr(switching, "Groups", lambda _: groups)
    monkeypatch.setattr(switching, "read_aliases", lambda _: Aliases({}, {}))
    monkeypatch.setattr(switching, "open_store", lambda _: None)
    monkeypatch.setattr(switching, "write_alias", begun)
    monkeypatch.setattr(switching, "_COPYING", 0.3)
    return topics


def switched(may_lag: Collection[str] = ()) -> None:
    of: Any = SimpleNamespace(cluster="one", client_config=dict)
    config: Any = SimpleNamespace(topic=lambda _: of, cluster=lambda _: of)
    switch(config, FORTH, operation="op", may_lag=may_lag)


@pytest.mark.usefixtures("mixed")
def test_a_group_that_could_not_follow_is_named_before_anybody_stores() -> None:
    with pytest.raises(StrandedGroupsError, match=r"billing.*Run the goal feed_back, then this one again") as raised:
        switched()
    assert raised.value.groups == ("billing",)
    assert "mixed in orders.v2 from 2 to 4" in raised.value.reason


@pytest.mark.usefixtures("mixed")
def test_a_group_that_follows_no_switch_is_not_in_the_way() -> None:
    with pytest.raises(BegunError):
        switched(may_lag=["billing"])


@pytest.mark.usefixtures("mixed")
def test_a_switch_that_was_cut_off_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Producers store already; consumers can be told later."""
    monkeypatch.setattr(switching, "read_aliases", lambda _: Aliases({SOURCE: FORTH}, {}))
    with pytest.raises(BegunError):
        switched()


def test_what_is_in_the_way_only_until_it_has_been_copied_is_waited_for(
    mixed: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(*_: object) -> None:
        mixed.logs[SOURCE].events[3] = copy_of(2, TARGET, SOURCE)
        copied = {(SOURCE, TARGET): {0: 4}, (TARGET, SOURCE): {0: 4}}
        monkeypatch.setattr(switching, "copied_so_far", lambda *way: copied[way[2], way[3]])

    monkeypatch.setattr(switching, "_sleep", soon)
    with pytest.raises(BegunError):
        switched()


def test_nothing_is_in_the_way_once_it_was_fed_back(mixed: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    mixed.logs[SOURCE].events[3] = copy_of(2, TARGET, SOURCE)
    copied = {(SOURCE, TARGET): {0: 4}, (TARGET, SOURCE): {0: 4}}
    monkeypatch.setattr(switching, "copied_so_far", lambda *way: copied[way[2], way[3]])
    with pytest.raises(BegunError):
        switched()


@pytest.mark.parametrize(
    ("aliases", "slot", "under_way"),
    [
        (Aliases({}, {}), LaneState(), False),
        (Aliases({}, {SOURCE: "it is not JSON"}), LaneState(), False),
        (Aliases({SOURCE: FORTH}, {}), LaneState(1, "divert"), True),
        (Aliases({SOURCE: FORTH}, {}), LaneState(2, "open", 1, TARGET), False),
        (Aliases({SOURCE: replace(FORTH, current=SOURCE)}, {}), LaneState(2, "open", 1, TARGET), False),
    ],
    ids=["never begun", "its record can't be read", "cut off", "ended", "taken back"],
)
def test_a_switch_is_under_way_from_its_alias_to_its_last_lane(
    monkeypatch: pytest.MonkeyPatch, aliases: Aliases, slot: LaneState, under_way: bool
) -> None:
    """A record that can't be read is written anew by the switch itself, so it must not be in the way of that."""
    monkeypatch.setattr(switching, "read_aliases", lambda _: aliases)
    monkeypatch.setattr(switching, "open_store", lambda _: None)
    monkeypatch.setattr(switching, "Topics", lambda *_: SimpleNamespace(lanes=lambda *_: 1))
    monkeypatch.setattr(switching, "LaneLog", lambda *_: SimpleNamespace(state=lambda: slot))
    of: Any = SimpleNamespace(cluster="one", lanes=1, client_config=dict)
    config: Any = SimpleNamespace(topic=lambda _: of, cluster=lambda _: of)
    assert is_under_way(config, SOURCE, TARGET) is under_way
