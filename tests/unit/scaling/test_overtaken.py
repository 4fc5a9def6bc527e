"""A scaling that was killed, or overtaken by people, adds what is missing, and never takes a broker away."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from flows import broker_scaling as flow
from redrive.fleets.growth import KIND, Growth
from tasks.operations import NOBODY
from tests.unit.scaling.on_paper import SCALE, Killed, Paper, killed_at, runs

POINTS = 14
"""Before and after each effect: five entries in the journal, an order, and a run that is started. After the last one
there is nothing left to do."""


def unfinished(town: Paper, ago: float = 0.0, **changes: Any) -> Growth:
    """What a run before has left: it was about to ask for a fourth broker."""
    growth = replace(Growth.new((1, 2, 3), 4, {}), decided_at=time.time() - ago, **changes)
    town.began(flow.JOB, "before").note(KIND, growth.entry())
    return growth


def test_high_load_brings_a_broker_and_partitions_to_it(town: Paper) -> None:
    assert runs(town) == "proved"
    assert (town.orders, town.there) == ([4], 4)
    assert [each["brokers"] for each in town.started.values()] == [[4]]
    assert town.growth is not None
    assert town.growth.step == "ended"


@pytest.mark.parametrize("by_hand", [None, 6], ids=["nobody", "people_add_three"])
@pytest.mark.parametrize("point", range(POINTS - 1))
def test_wherever_it_is_killed_the_next_run_goes_on_and_takes_no_broker_away(
    town: Paper, point: int, by_hand: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        was_killed = killed_at(point, patch)
        with pytest.raises(Killed):
            runs(town)
        assert was_killed()
    was = town.there
    if by_hand is not None:
        town.scale_by_hand(by_hand)
    assert runs(town) == "proved"
    assert town.there == (by_hand or 4)
    assert town.there >= was
    assert set(town.orders) <= {4}
    assert len(town.started) == 1
    (moves,) = town.started.values()
    assert set(moves["brokers"]) in ({4}, {4, 5, 6})
    assert town.growth is not None
    assert town.growth.step == "ended"


@pytest.mark.parametrize("next_one", ["schedule quarter-hourly", NOBODY])
@pytest.mark.parametrize("point", [1, 4, 8])
def test_moves_count_as_started_by_who_has_set_about_the_scaling_whoever_goes_on_with_it(
    town: Paper, point: int, next_one: str
) -> None:
    town.who = "anna"
    with pytest.MonkeyPatch.context() as patch:
        killed_at(point, patch)
        with pytest.raises(Killed):
            runs(town)
    town.who = next_one
    assert runs(town) == "proved"
    assert town.started_by == ["anna"], "who may not approve them, with four_eyes"


def test_what_is_decided_anew_counts_as_of_who_does(town: Paper) -> None:
    unfinished(town, ago=SCALE.cool_down + 60, who="anna")
    town.who = "ben"
    assert runs(town) == "proved"
    assert town.started_by == ["ben"]


def test_of_a_scaling_of_before_it_was_kept_who_goes_on_counts(town: Paper) -> None:
    unfinished(town)
    town.who = "ben"
    assert runs(town) == "proved"
    assert town.started_by == ["ben"]


def test_there_are_no_more_points_to_be_killed_at(town: Paper) -> None:
    with pytest.MonkeyPatch.context() as patch:
        was_killed = killed_at(POINTS, patch)
        assert runs(town) == "proved"
        assert not was_killed()


def test_an_order_of_which_no_answer_came_is_not_given_again_once_people_have_added_more(town: Paper) -> None:
    town.settings(add="sleep 60")
    (town.folder / "redrive.toml").write_text(
        (town.folder / "redrive.toml").read_text().replace("add =", "timeout = 1\nadd =")
    )
    assert "paused: " in (ended := runs(town)), ended
    assert "has not ended after 1 s" in ended
    town.settings()
    town.scale_by_hand(6)
    town.cpu = 10  # whatever the load is by then
    assert runs(town) == "proved"
    assert (town.orders, town.there) == ([], 6)
    assert [each["brokers"] for each in town.started.values()] == [[4, 5, 6]]


def test_brokers_that_are_down_are_counted_too(town: Paper) -> None:
    unfinished(town)
    town.scale_by_hand(4)
    town.down = {4}
    assert runs(town) == "failed: after 1 s the cluster has 3 of 4 brokers"
    assert (town.orders, town.there) == ([], 4)


def test_what_was_to_be_asked_for_long_ago_is_decided_anew(town: Paper) -> None:
    old = unfinished(town, ago=SCALE.cool_down + 60)
    town.cpu = 10
    assert runs(town) == "nothing to add: CPU is not high: 10 %, below 60 %"
    assert town.orders == []
    town.cpu = 75
    assert runs(town) == "proved"
    assert town.orders == [4]
    assert town.growth is not None
    assert town.growth.id != old.id


def test_not_so_long_ago_it_is_asked_for_whatever_the_load_is_by_then(town: Paper) -> None:
    old = unfinished(town, ago=SCALE.cool_down - 60)
    town.cpu = 10
    assert runs(town) == "proved"
    assert town.growth is not None
    assert (town.orders, town.growth.id) == ([4], old.id)


def test_brokers_that_come_late_after_all_are_filled_however_long_ago_they_were_asked_for(town: Paper) -> None:
    old = unfinished(town, ago=SCALE.cool_down + 60)
    town.scale_by_hand(4)
    town.cpu = 10
    assert runs(town) == "proved"
    assert town.growth is not None
    assert (town.orders, town.growth.id, town.growth.brokers) == ([], old.id, (4,))


def test_those_that_people_have_added_and_filled_since_are_none_of_that(town: Paper) -> None:
    unfinished(town, ago=SCALE.cool_down + 60)
    town.scale_by_hand(6)
    town.filled = {1, 2, 3, 4, 5, 6}
    town.cpu = 10
    assert runs(town) == "nothing to add: CPU is not high: 10 %, below 60 %"
    assert (town.orders, town.started) == ([], {})


def test_people_who_add_brokers_while_the_load_is_measured_are_noticed(
    town: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(work: Any, seconds: float) -> None:
        town.measure(work, seconds)
        town.scale_by_hand(4)

    monkeypatch.setattr(flow, "measure_load", measure)
    assert runs(town).startswith("nothing to add: the load is not known: broker 4 is not in it")
    assert town.orders == []
