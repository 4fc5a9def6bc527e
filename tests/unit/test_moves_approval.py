"""Which moves a person has to approve."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from flows.partition_rebalance import needs_approval
from redrive.config import RebalancingConfig
from redrive.partitions.layout import Move
from redrive.partitions.picture import BrokerPicture, Picture
from redrive.partitions.planner import Goal
from redrive.partitions.rebalancing import plan_of
from redrive.partitions.state import PartitionState
from tasks.partition_rebalance.steps import Decided, Moving

GB = 1_000_000_000
SMALL, LARGE = Move("orders", 0, (1, 2), (3, 2), 10), Move("orders", 0, (1, 2), (3, 2), 2 * GB)
FEWER = Move("orders", 0, (1, 2, 3), (1,), 2 * GB)
ORDER = Move("orders", 0, (1, 2), (2, 1), 2 * GB)


def asks(
    left: list[Move], approval: Literal["required", "none"] | int = 1_000, *, asked: bool = False, unsized: Any = ()
) -> bool:
    config: Any = SimpleNamespace(rebalancing=RebalancingConfig(approval=approval))
    run: Any = SimpleNamespace(has_asked=lambda: asked)
    picture = SimpleNamespace(unsized=frozenset(unsized))
    work = cast(Moving, SimpleNamespace(config=config, run=run, picture=picture))
    return needs_approval(work, Decided(left, left, "", []))


@pytest.mark.parametrize(
    ("left", "asking"), [([SMALL], False), ([LARGE], True), ([FEWER], True), ([ORDER], False), ([], False)]
)
def test_what_copies_much_or_takes_replicas_away_is_approved_first(left: list[Move], asking: bool) -> None:
    assert asks(left) is asking
    assert asks(left, "none") is False
    assert asks(left, "required") is bool(left)


def test_what_copies_nobody_knows_how_much_is_approved_first() -> None:
    unknown = replace(SMALL, size=0)
    assert asks([unknown]) is False
    assert asks([unknown], unsized=[("orders", 0)]) is True
    assert asks([SMALL], unsized=[("orders", 0)]) is False  # a plan that was made when it was known
    assert asks([unknown], "none", unsized=[("orders", 0)]) is False


def test_once_a_person_was_asked_the_answer_counts_whatever_is_left() -> None:
    assert asks([SMALL], asked=True)
    assert asks([], asked=True)


def test_a_new_broker_with_amazon_s_own_topics_alone_is_new() -> None:
    def broker(id_: int) -> BrokerPicture:
        return BrokerPicture(id_, None, True, 1, 1, 0, None, None, None, "")

    partitions = {
        each.key: each
        for each in (
            *(PartitionState("orders", number, (1,), 1, frozenset({1})) for number in range(4)),
            PartitionState("__amazon_msk_canary", 0, (2,), 2, frozenset({2})),
        )
    }
    layout: Any = SimpleNamespace()
    picture = Picture(
        "east", layout, (broker(1), broker(2)), partitions, (), (), (), {}, {}, (), None
    )  # fmt: skip
    assert picture.empty == {2}
    planned: list[Goal] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("redrive.partitions.rebalancing.plan", lambda _, goal: planned.append(goal))
        plan_of(picture, Goal("add_brokers"))
    assert planned[0].brokers == {2}
