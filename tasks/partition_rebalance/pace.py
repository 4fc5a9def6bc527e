"""How fast partitions move, and what holds them: the same variable as other jobs have, in MB a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from redrive.errors import RedriveError
from redrive.ledger import Ledger, OperationRow
from redrive.ledger.holds import TTL
from redrive.partitions.execution import Execution

MB = 1_000_000
UNIT = "MB/s per broker"


class MovesPace:
    """What the pace of moves is set on; and says what holds them.

    Args:
        rate: MB a second for each broker; None: no throttle, or, of one that follows limits, no other limit.
        follows: the throttle follows limits, so that a rate is the most that it may be.

    Attributes:
        complaint: why the last rate that was asked for is not followed; empty if it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        cluster: str,
        run_id: str,
        rate: float | None,
        *,
        follows: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.complaint = ""
        self._ledger, self._cluster, self._run_id = ledger, cluster, run_id
        self._rate, self._follows = rate, follows
        self._execution: Execution | None = None
        self._holds: dict[str, str] = {}
        self._lock = threading.Lock()
        self._clock = clock
        self._beats: dict[str, tuple[tuple[int, datetime], float]] = {}

    def steer(self, execution: Execution) -> None:
        """Hear which execution it is that goes at this pace."""
        self._execution = execution

    @property
    def rate(self) -> float | None:
        """MB a second for each broker, as asked for; None: nothing is."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self.complaint = ""
        if rate == self._rate:
            return
        fixed = self._rate is None and not self._follows
        if rate is None or fixed or self._execution is None:
            self.complaint = "a throttle is not put on or taken off while partitions move; only its rate can change"
            return
        try:
            self._execution.change_rate(round(rate * MB))
        except RedriveError as error:
            self.complaint = str(error)
        else:
            self._rate = rate

    def told(self) -> str:
        """Say which throttle holds now."""
        rate = self._execution.rate if self._execution is not None else None
        if rate is None:
            return "none"
        if not self._follows and self._rate is not None and rate < round(self._rate * MB):
            return f"{round(rate / MB, 2):,g} of {round(self._rate, 2):,g} {UNIT}, as limits allow"
        return f"{round(rate / MB, 2):,g} {UNIT}" + (", as limits allow" if self._follows else "")

    def pause(self, reason: str, by: str) -> None:
        """Begin nothing more until whoever paused resumes; what is under way goes on."""
        with self._lock:
            self._holds[by] = reason

    def resume(self, by: str) -> None:
        """Take back one's reason to hold."""
        with self._lock:
            self._holds.pop(by, None)

    def held_by(self) -> str:
        """Say why nothing more is to begin: somebody has paused, or a job brings events back on this cluster."""
        with self._lock:
            if self._holds:
                return "; ".join(self._holds.values())
        for resource, operation in sorted(self._ledger.held().items()):
            cluster, _, topic = resource.partition("/")
            # What begins with a colon is no topic, but what jobs that move or scale keep each other out by.
            if operation != self._run_id and cluster == self._cluster and not topic.startswith(":"):
                holder = self._ledger.operation(operation)
                if self._is_alive(holder):
                    return f"{holder.job} {operation[:8]} works at {resource}, and goes first"
        return ""

    def _is_alive(self, holder: OperationRow) -> bool:
        """Say whether a holder shows signs of life, as `redrive.ledger.holds` does: nothing waits for a dead one."""
        beat, now = (holder.attempt, holder.heartbeat_at), self._clock()
        seen, since = self._beats.setdefault(holder.id, (beat, now))
        if beat != seen:
            self._beats[holder.id] = (beat, now)
            return True
        return now - since < TTL
