"""Partitions that are moved between brokers."""

from __future__ import annotations

import math

from redrive.errors.base import RedriveError


class GoalError(RedriveError):
    """No plan can be made for what is asked of a cluster's partitions.

    Attributes:
        setting: the field of the goal that is wrong, such as ``brokers``.
        reason: what is wrong with it, by name, and what to ask for instead.
    """

    def __init__(self, setting: str, reason: str) -> None:
        self.setting, self.reason = setting, reason
        super().__init__(f"{setting}: {reason}")


def at_least_in_mb(rate: int) -> str:
    """Write a least rate, given in bytes a second, as MB a second: rounded up, so that it will do."""
    return f"{math.ceil(rate / 1e4) / 100:,.2f}"


class ThrottleTooLowError(RedriveError):
    """At this rate moving partitions can never catch up with what producers write to them.

    Attributes:
        rate: bytes a second, as asked for.
        broker: the broker that needs most.
        needed: bytes a second that replication of the moving partitions takes there with nothing caught up.
        least: the least rate that would do.
    """

    def __init__(self, rate: int, broker: int, needed: float, least: int) -> None:
        self.rate, self.broker, self.needed, self.least = rate, broker, needed, least
        super().__init__(
            f"a throttle of {rate / 1e6:,.2f} MB/s can't converge: new events of the partitions that move take "
            f"{needed / 1e6:,.2f} MB/s of it on broker {broker}; give at least {at_least_in_mb(least)} MB/s, or move "
            "fewer at a time"
        )
