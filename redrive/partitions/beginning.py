"""`Beginning`: which moves begin now, and what they wait for."""

from __future__ import annotations

from collections.abc import Sequence

from redrive.partitions.layout import Move
from redrive.partitions.orders import Orders
from redrive.partitions.progress import Step
from redrive.partitions.room import Room
from redrive.partitions.strain import Gauge, over_limit
from redrive.partitions.survey import Survey
from redrive.partitions.waves import Limits, next_wave
from redrive.partitions.wellness import Wellness


class Beginning:
    """Begins moves while the cluster is well, no limit is exceeded, and there is room.

    Args:
        orders: of the execution.
        wellness, room: of the cluster.
        gauges: of what has limits.
        limits: how much at a time.
    """

    def __init__(self, orders: Orders, wellness: Wellness, room: Room, gauges: Sequence[Gauge], limits: Limits) -> None:
        self._orders, self._wellness, self._room = orders, wellness, room
        self._gauges, self._limits = gauges, limits

    def more(self, survey: Survey, *, held: str, covered: bool, moved: bool) -> str:
        """Begin what may begin now; give what it waits for, if it does.

        Args:
            survey: how far the moves are.
            held: why nothing is to begin; empty if something may.
            covered: what is under way has its throttle for certain; not after a run that was killed, and not with a
                broker that was away.
            moved: something has moved since the last look. If not, what is under way may wait for a broker.
        """
        pending, in_flight = survey.at(Step.PENDING), survey.at(Step.IN_FLIGHT)
        wave, full = list[Move](), ""
        if not held:
            self._orders.begin_free(survey, [move for move in pending if survey.costs_nothing(move)])
            costly = (move for move in pending if not survey.costs_nothing(move))
            wave, full = self._room.fitting(next_wave(costly, in_flight, self._limits), in_flight)
        if not wave and covered and moved:
            return full
        if waiting_for := self._wellness.why_unwell([*in_flight, *wave]):
            return waiting_for
        paused = over_limit(self._gauges) if wave else ""
        if wave and not paused:
            self._orders.begin(wave, in_flight)
        elif not covered:
            self._orders.throttle(in_flight)
        return paused or full
