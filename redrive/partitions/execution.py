"""`Execution`: carries moves out on a live cluster.

The cluster is the checkpoint. How far each move has come is read from it every time, so that a run that was killed
goes on when it is called again with the same moves; and what somebody else does to a partition is seen, and respected.
(Kafka has no "reassign only if it still is as I saw it": between our look and our order, some milliseconds, somebody
else's order would be overwritten.)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from redrive.errors import UnavailableError
from redrive.ledger import Debts, Operation
from redrive.partitions import convergence, inflow
from redrive.partitions.beginning import Beginning
from redrive.partitions.copying import Copying
from redrive.partitions.following import FollowingThrottle
from redrive.partitions.layout import Move
from redrive.partitions.orders import Orders
from redrive.partitions.outcome import Progress, Result
from redrive.partitions.progress import Step
from redrive.partitions.reading_back import result_of, settled
from redrive.partitions.room import Room
from redrive.partitions.settling import Settlement, settle_but_others
from redrive.partitions.state import Key
from redrive.partitions.strain import Gauge
from redrive.partitions.survey import Survey, key_of
from redrive.partitions.throttle import Throttle
from redrive.partitions.watch import Watch
from redrive.partitions.waves import Limits
from redrive.partitions.wellness import Wellness
from redrive.partitions.writer import PartitionWriter

SAMPLE = 3.0
"""Seconds over which the inflow to the moving partitions is measured."""
LAST_PATIENCE = 5.0
"""Seconds that replicas get to be in sync, leaders to be elected, and the cluster to answer, once it was asked to stop:
whoever asks does not wait for long."""
ASKED = "asked to stop"
Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)


def _silent(_: Progress) -> None:
    """Report nothing."""


def _nothing() -> None:
    """Do nothing."""


class Execution:
    """Carries out moves, or takes them back.

    Attributes:
        following: what watches the throttle, and changes it; None if there is none.

    Args:
        writer: of the cluster. Whoever moves partitions there holds it in the ledger as a whole.
        debts: of the ledger.
        operation: on whose behalf; it is to show signs of life (`Operation.keep_alive`).
        rate: bytes a second that a broker may send, and receive, of moving partitions; None for no throttle.
        limits: how much at a time.
        report: called after every look at the cluster.
        hold_back: gives a reason to begin nothing more for now; empty if there is none. That counts as no standstill.
        gauges: of what has limits. While one is exceeded, nothing more begins, and what is under way gets a lower rate
            (see `redrive.partitions.following`). If nothing moves meanwhile for as long as `Limits.patience`, or the
            rate is held at its least for so long, that is a standstill.
        follow: the rate is only what it begins with, and becomes whatever the gauges allow.
        begins: called before the first order, once nothing refuses it any more.
        under_min_isr: partitions that were so when the moves began, by an earlier process perhaps: more is begun all
            the same. None: those that are by now. Of a way back, those that are by now never count.
    """

    def __init__(
        self,
        writer: PartitionWriter,
        debts: Debts,
        operation: Operation,
        *,
        rate: int | None = None,
        limits: Limits | None = None,
        report: Callable[[Progress], None] = _silent,
        hold_back: Callable[[], str] = str,
        gauges: Sequence[Gauge] = (),
        follow: bool = False,
        begins: Callable[[], None] = _nothing,
        under_min_isr: Collection[Key] | None = None,
    ) -> None:
        self._writer, self._debts, self._operation = writer, debts, operation
        self._gauges = tuple(gauges)
        self._limits, self._report, self._hold_back = limits or Limits(), report, hold_back
        self._begins, self._not_released, self._under_min_isr = begins, "", under_min_isr
        self._throttle = Throttle(writer, debts, operation, rate) if rate is not None else None
        self.following: FollowingThrottle | None = None
        if self._throttle is not None:
            self.following = FollowingThrottle(self._throttle, self._gauges, fixed=not follow)

    @property
    def rate(self) -> int | None:
        """The throttle that holds now, in bytes a second."""
        return None if self._throttle is None else self._throttle.rate

    def change_rate(self, rate: int) -> None:
        """Change the throttle in mid-run; may be called by any thread. One that limits keep lower stays so for now.

        Raises:
            ThrottleTooLowError: at that rate nothing would ever arrive; the present one stays.
            ValueError: it runs without a throttle.
        """
        if self.following is None:
            raise ValueError("this execution has no throttle to change")
        self.following.limit(rate)

    def run(
        self, moves: Sequence[Move], *, stop: threading.Event | None = None, cancel_in_flight: bool = False
    ) -> Result:
        """Carry out the moves; what is done already is not done again.

        Args:
            moves: at most one for a partition.
            stop: once set, nothing more is begun.
            cancel_in_flight: when it stops, for whatever reason, take back what is under way, exact order included,
                instead of waiting for it.

        Raises:
            ThrottleTooLowError: nothing was changed.
            UnavailableError: the cluster does not answer at the beginning, or later for as long as the limits'
                patience. What is owed stays owed.
            FencedError: the operation is no longer this process's; it has stopped.
        """
        return self._carry_out(moves, stop or threading.Event(), cancel_in_flight=cancel_in_flight, back=False)

    def roll_back(self, moves: Sequence[Move], *, stop: threading.Event | None = None) -> Result:
        """Give every partition of the moves its replicas of before, in their order: those under way, those done.

        What somebody else has changed stays. The outcomes are those of the ways back: ``done`` is "as before". A
        throttle at which that would never end, by what is written by now, goes up to the least that does.

        Raises:
            UnavailableError, FencedError: see `run`.
        """
        back = [move.back() for move in moves]
        return self._carry_out(back, stop or threading.Event(), cancel_in_flight=False, back=True)

    def _carry_out(self, moves: Sequence[Move], stop: threading.Event, *, cancel_in_flight: bool, back: bool) -> Result:
        by_key = {key_of(move): move for move in moves}
        if len(by_key) < len(moves):
            raise ValueError("there are two moves of the same partition")
        if self._throttle is not None:
            self._throttle.ours = by_key
        orders = Orders(self._writer, self._operation, self._throttle, by_key)
        survey = orders.look()
        self._require_convergence(survey, rise=back)
        self._begins()
        if self._throttle is None:
            self._lift(by_key)  # what a run before this one has left
        watch = Watch(self._limits.patience)
        wellness = Wellness(self._writer, None if back else self._under_min_isr)
        beginning = Beginning(orders, wellness, Room(self._writer), self._gauges, self._limits)
        stopped = self._work(orders, survey, watch, beginning, stop, cancel_in_flight=cancel_in_flight)
        self._elect(orders, watch, stop, LAST_PATIENCE if stopped else self._limits.patience)
        return self._patiently(lambda: self._read_back(orders, stopped), stop)

    def _require_convergence(self, survey: Survey, *, rise: bool) -> None:
        free = {key_of(move) for move in survey.at(Step.PENDING) if survey.costs_nothing(move)}
        coming = [move for move in survey.at(Step.PENDING, Step.IN_FLIGHT) if key_of(move) not in free and move.added]
        if self.following is not None and coming:
            flow = inflow.measure(self._writer, [key_of(move) for move in coming], SAMPLE)
            needs = convergence.needed(coming, flow, survey.leaders(), self._limits.per_broker)
            self.following.begin(needs, rise=rise)

    def _elect(self, orders: Orders, watch: Watch, stop: threading.Event, patience: float) -> None:
        """Have moved partitions led as planned, and wait for that, and until all of their replicas are in sync."""
        began, pause = time.monotonic(), min(0.2, self._limits.poll)
        while True:
            survey = self._patiently(orders.look, stop)
            waiting_for = self._patiently(partial(orders.elect, survey), stop)
            if not waiting_for or time.monotonic() - began > min(patience, self._patience(stop)):
                return
            self._show(watch, survey, Copying.take(survey, self._writer), waiting_for)
            time.sleep(pause)
            pause = min(2 * pause, self._limits.poll)

    def _patience(self, stop: threading.Event) -> float:
        return LAST_PATIENCE if stop.is_set() else self._limits.patience

    def _patiently(self, ask: Callable[[], Answer], stop: threading.Event) -> Answer:
        """Ask once more, as long as there is patience, when the cluster does not answer."""
        began = time.monotonic()
        while True:
            try:
                return ask()
            except UnavailableError:
                if time.monotonic() - began > self._patience(stop):
                    raise
            time.sleep(self._limits.poll)

    def _work(
        self,
        orders: Orders,
        survey: Survey,
        watch: Watch,
        beginning: Beginning,
        stop: threading.Event,
        *,
        cancel_in_flight: bool,
    ) -> str:
        """Begin moves, wave by wave, until all are where they should be; or say why it has stopped."""
        stopped, waiting_for, covered = "", "", False
        while True:
            try:
                survey = orders.look()
                if stop.is_set() and not stopped:
                    stopped = ASKED
                    watch.begin_anew()
                taking_back = bool(stopped) and cancel_in_flight and orders.take_back(survey)
                self._release(orders, survey)
                if not taking_back and not survey.under_way() and (stopped or not survey.at(Step.PENDING)):
                    self._tell(watch, survey, waiting_for)
                    return stopped
                if not stopped:
                    held = self._hold_back() if survey.at(Step.PENDING) else ""
                    if held:
                        watch.begin_anew()
                    waiting_for = beginning.more(survey, held=held, covered=covered, moved=watch.moved)
                    covered = not waiting_for
                    waiting_for = waiting_for or held
                self._tell(watch, survey, waiting_for)
            except UnavailableError as error:
                if watch.stands_still:
                    raise
                waiting_for, covered = str(error), False
                self._show(watch, survey, Copying.take(survey, self._writer), waiting_for)
            if watch.stands_still:
                why = watch.why_still
                if stopped:
                    return f"{stopped}; {why}"
                because = watch.crawls or waiting_for or self._slowed_by
                stopped = f"{why}: {because}" if because else why
                if not cancel_in_flight:
                    return stopped
                watch.begin_anew()
            if stop.is_set():
                time.sleep(self._limits.poll)
            else:
                stop.wait(self._limits.poll)

    def _release(self, orders: Orders, survey: Survey) -> None:
        """Throttle no longer what has arrived. Where that can't be done, the next look tries again, and all goes on."""
        failed = ""
        try:
            orders.release(survey)
        except UnavailableError as error:
            failed = str(error)
        if failed and failed != self._not_released:
            logger.warning("what has arrived is throttled still, and that is tried again: %s", failed)
        self._not_released = failed

    def _tell(self, watch: Watch, survey: Survey, waiting_for: str) -> None:
        copying = Copying.take(survey, self._writer)
        self._show(watch, survey, copying, waiting_for)
        if self.following is not None and survey.under_way():
            self.following.look(copying)

    def _show(self, watch: Watch, survey: Survey, copying: Copying, waiting_for: str) -> None:
        following = self.following
        if following is None or not survey.under_way():
            self._report(watch.see(survey, copying, waiting_for=waiting_for, slowed_by=""))
            return
        progress = watch.see(
            survey,
            copying,
            waiting_for=waiting_for,
            slowed_by=following.slowed_by,
            crawls=following.crawls,
            too_low=following.too_low,
        )
        self._report(progress)

    @property
    def _slowed_by(self) -> str:
        return "" if self.following is None else self.following.slowed_by

    def _lift(self, ours: Collection[Key]) -> Settlement:
        if self._throttle is not None:
            return self._throttle.lift()
        return settle_but_others(self._writer, self._debts, self._operation, ours)

    def _read_back(self, orders: Orders, stopped: str) -> Result:
        survey = settled(orders, stopped)
        owed, before, respected = set[str](), set[str](), set[str]()
        if self._throttle is not None and survey.under_way():
            owed = {"throttles, as partitions still move; the next run lifts them, or `redrive debts settle --now`"}
        else:
            settlement = self._lift(survey.moves)
            respected = set(settlement.respected)
            for row in self._debts.owed(self._writer.cluster):
                ours = row.operation_id == self._operation.id
                (owed if ours else before).add(settlement.left.get(row.id, f"{row.setting} of {row.kind} {row.name}"))
        if self._throttle is not None:
            respected |= self._throttle.respected
        return replace(
            result_of(survey, orders.refused),
            stopped=stopped,
            owed=tuple(sorted(owed)),
            owed_before=tuple(sorted(before)),
            respected=tuple(sorted(respected)),
        )
