"""`Watch`: the pace of an execution, and whether it stands still."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from redrive.partitions.copying import Copying
from redrive.partitions.outcome import Progress
from redrive.partitions.survey import Survey


class Watch:
    """Sees each look at the cluster.

    Args:
        patience: seconds without any change after which it stands still. What changes while a limit holds the throttle
            at its least does not count.
        clock: seconds.
    """

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._begun, self._changed = clock(), clock()
        self._copied_at_first: int | None = None
        self._last: object = None
        self.moved = True  # since the look before
        self.crawls = ""

    def see(
        self,
        survey: Survey,
        copying: Copying,
        *,
        waiting_for: str,
        slowed_by: str,
        crawls: str = "",
        too_low: str = "",
    ) -> Progress:
        """Take a look in, and give the progress; ``crawls``: which limit holds the throttle at its least, if so."""
        self.crawls = crawls
        now, copied, to_copy = self._clock(), copying.copied, copying.to_copy
        seen = (dict(survey.steps), copied)
        self.moved = seen != self._last
        if self.moved:
            self._last, self._changed = seen, self._changed if crawls else now
        if self._copied_at_first is None:
            self._copied_at_first, self._begun = copied, now
        pace = (copied - self._copied_at_first) / (now - self._begun) if now > self._begun else 0.0
        return Progress(
            moves=len(survey.moves),
            steps=Counter(survey.steps.values()),
            copied=copied,
            to_copy=to_copy,
            per_second=pace if pace > 0 else None,
            seconds_left=(to_copy - copied) / pace if pace > 0 else None,
            waiting_for=waiting_for,
            slowed_by=slowed_by,
            too_low=too_low,
        )

    def begin_anew(self) -> None:
        """Be patient once more: something else is tried from now on."""
        self._changed = self._clock()

    @property
    def stands_still(self) -> bool:
        """Whether nothing has changed for too long."""
        return self._clock() - self._changed > self._patience

    @property
    def why_still(self) -> str:
        """In which way it stands still."""
        what = "a limit has held the throttle at its least" if self.crawls else "nothing has moved"
        return f"{what} for {self._patience:g} s"
