"""What a backfill would do, as far as it can be said beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redrive.migrations.compatibility import Finding
from redrive.migrations.groups import Group
from redrive.migrations.in_place.stock import Stock
from redrive.migrations.migration import Migration
from redrive.migrations.moving import GroupMove
from redrive.migrations.shadow import Shadow
from redrive.migrations.survey import Standing
from redrive.migrations.trial import Back, Trial

Goal = Literal["copy", "cut_over", "switch_producers", "feed_back", "revert", "switch_back", "in_place"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan.

    Attributes:
        goal: how far it goes.
        migration: what is done to each event.
        topics: both of them.
        standings: how far each partition is.
        trial: what trying the migration has shown.
        back: what taking some events up and down again has shown; None: there is no way back.
        differences: schema id → where its events can't become the target's by themselves.
        groups: consumer groups that are to be moved.
        stock: what a topic holds that is to be migrated in place.
        moves: where the groups would be placed as of now.
    """

    goal: Goal
    migration: Migration
    topics: Shadow
    standings: tuple[Standing, ...]
    trial: Trial
    back: Back | None
    differences: Mapping[int, Sequence[Finding]]
    groups: tuple[Group, ...]
    stock: Stock | None = None
    moves: tuple[GroupMove, ...] = ()

    @property
    def left(self) -> int:
        """Events to copy, about."""
        if self.stock is not None:
            return self.stock.old(self.migration.recipe.target)
        return sum(standing.left for standing in self.standings)

    @property
    def seconds(self) -> float | None:
        """How long it takes, by how long trying took; None: nothing was tried."""
        return self.left * self.trial.seconds / self.trial.events if self.trial.events else None

    def canonical(self) -> dict[str, Any]:
        """Give what an approval binds. Not how much there is to copy: that changes all the time."""
        return {
            "goal": self.goal,
            "cluster": self.topics.cluster,
            "source": self.migration.source,
            "target": self.migration.target,
            "partitions": len(self.standings),
            "migration": self.migration.digest,
            "settings": dict(sorted(self.topics.config.items())),
            "groups": sorted(group.name for group in self.groups),
        }
