"""How people are told to bring partitions to new brokers, when the moves that were to do it came to no good end."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.fleets.growth import Growth
from tasks.broker_scaling.report import Ending
from tasks.broker_scaling.steps import Moves, Scaling
from tasks.operations import MOVING, ROLLING_BACK
from tests.unit.scaling.on_paper import CLUSTER, Paper

RUN = f"redrive run partition-rebalance --cluster {CLUSTER} --mode run --goal"
GROWTH = replace(Growth.new((1, 2, 3), 5, {}), step="moving", brokers=(4, 5), moves="ours")


def told(town: Paper, word: str = "failed", up: set[int] = {1, 2, 3, 4, 5}) -> str:  # noqa: B006 (nothing changes it)
    work: Any = SimpleNamespace(
        run=SimpleNamespace(ledger=town.ledger), cluster=CLUSTER, picture=SimpleNamespace(brokers=[]), up=up
    )
    return Ending(cast(Scaling, work), GROWTH, Moves("", word, "why"), "").headline


def moves(town: Paper, name: str, *kinds: str) -> None:
    operation = town.began("partition-rebalance", name)
    for kind in kinds:
        operation.note(kind, {})


def test_moves_that_were_begun_are_gone_on_with(town: Paper) -> None:
    moves(town, "friday", MOVING)
    moves(town, "ours", MOVING)
    assert told(town) == f"brokers 4, 5 there; moves failed: why; to go on: {RUN} go_on"


@pytest.mark.parametrize("kinds", [(MOVING,), (MOVING, ROLLING_BACK)], ids=["moving", "rolling back"])
def test_moves_that_never_began_are_not_told_by_the_command_that_goes_on_with_somebody_else_s(
    town: Paper, kinds: tuple[str, ...]
) -> None:
    moves(town, "friday", *kinds)
    moves(town, "ours")
    assert told(town, "refused") == (
        f"brokers 4, 5 there; moves refused: why; to go on: {RUN} add_brokers --broker 4 --broker 5"
    )


def test_nor_are_those_after_which_somebody_else_has_moved(town: Paper) -> None:
    moves(town, "ours", MOVING)
    moves(town, "monday", MOVING)
    assert told(town).endswith(f"{RUN} add_brokers --broker 4 --broker 5")


def test_the_same_where_nothing_has_moved_ever(town: Paper) -> None:
    assert told(town).endswith(f"{RUN} add_brokers --broker 4 --broker 5")


def test_moves_that_have_come_to_a_good_end_need_no_command_though_a_broker_is_down_again(town: Paper) -> None:
    assert told(town, "proved", {1, 2, 3, 4}) == "broker 5 is down again; brokers 4, 5 there; moves proved: why"
