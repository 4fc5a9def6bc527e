"""What a scaling says at its end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from redrive.fleets.growth import Growth
from tasks.scaling_report import Ending


def test_moves_that_failed_are_gone_on_with_by_a_command_that_names_the_cluster() -> None:
    """Where there are several, the command is refused without it."""
    picture: Any = SimpleNamespace(brokers=[SimpleNamespace(id=4, replicas=7, leaders=2)])
    work: Any = SimpleNamespace(cluster="east", picture=picture, up={1, 2, 3, 4})
    moves: Any = SimpleNamespace(word="failed", message="failed: orders/3 has a replica that is not in sync", url="")
    growth = cast(Growth, SimpleNamespace(brokers=(4,)))
    ending = Ending(work, growth, moves, approved="")
    assert "partition-rebalance --mode run --goal go_on --cluster east, or by the goal add_brokers" in ending.headline
