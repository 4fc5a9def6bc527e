"""Plans which replicas to move: pure, the same layout and goal give the same plan."""

from redrive.partitions.planner.goal import Goal
from redrive.partitions.planner.planning import plan
from redrive.partitions.planner.result import Figures, Plan

__all__ = ["Figures", "Goal", "Plan", "plan"]
