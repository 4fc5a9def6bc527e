"""The governor: one object decides the pace of all units of a run, while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from redrive.errors import StoppedError

OPERATOR = "operator"

_TICK = 1.0


class Protection(Protocol):
    """Something that can give a reason to hold; such as `redrive.pump.lag.ConsumerLag`."""

    def check(self) -> str | None:
        """Return the reason to hold now, or None. Called about once a second, from one thread."""
        ...


class Governor:
    """Lets events through at a rate that can be changed at any time, and holds them while there is a reason to.

    Thread-safe, shared by all units of a run. Without a rate, a reason to hold or a stop it costs next to nothing.
    """

    def __init__(
        self,
        rate: float | None = None,
        protections: Sequence[Protection] = (),
        *,
        every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start; with protections, also a thread that asks them.

        Args:
            rate: events a second, over all units; None is full speed.
            protections: asked for a reason to hold; one that fails is a reason, too, since it can't see.
            every: seconds between two rounds of asking.
            clock: seconds; for tests.
        """
        self._clock = clock
        self._condition = threading.Condition()
        self._rate: float | None = None
        self._debt = 0.0  # events let through that the rate has not yet paid for
        self._paid_at = clock()
        self._holds: dict[str, str] = {}
        self._stop_reason: str | None = None
        self._free = True
        self._closed = threading.Event()
        self.rate = rate
        self._protections = tuple(protections)
        if self._protections:
            self._ask_all()
            threading.Thread(target=self._watch, args=(every,), name="governor", daemon=True).start()

    def __enter__(self) -> Governor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def rate(self) -> float | None:
        """Events a second, over all units; None is full speed. Setting it also wakes those that wait."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            raise ValueError(
                f"rate must be above 0 events a second, or None for full speed; got {rate}. To stop: pause()"
            )
        with self._condition:
            self._pay()
            if rate is not None and self._rate is not None and rate < self._rate:
                # What went through at the old pace is not made to wait at the new one.
                self._debt *= rate / self._rate
            self._rate = rate
            self._changed()

    @property
    def held_by(self) -> str:
        """Why nothing goes through at present; empty if something does."""
        with self._condition:
            return "; ".join(self._holds.values())

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop_reason is not None

    def pause(self, reason: str, by: str = OPERATOR) -> None:
        """Hold everything until whoever paused resumes."""
        with self._condition:
            self._holds[by] = reason
            self._changed()

    def resume(self, by: str = OPERATOR) -> None:
        """Take back one's reason to hold; others' remain."""
        with self._condition:
            self._holds.pop(by, None)
            self._changed()

    def stop(self, reason: str = "stopped by request") -> None:
        """Let nothing through any more: whoever waits or comes gets a StoppedError."""
        with self._condition:
            self._stop_reason = reason
            self._changed()

    def close(self) -> None:
        """End the thread that asks protections."""
        self._closed.set()

    def check(self) -> None:
        """Raise a StoppedError if `stop` was called."""
        if self._stop_reason is not None:
            raise StoppedError(self._stop_reason)

    def share(self, seconds: float) -> float:
        """Say how many events to let through at once so that they are ``seconds`` of the rate."""
        rate = self._rate
        return float("inf") if rate is None else rate * seconds

    def admit(self, events: int, tick: Callable[[], None] | None = None) -> None:
        """Wait until ``events`` may go.

        Args:
            events: how many, at once; they are let through whole, and whoever comes next waits for them.
            tick: called about once a second while waiting.

        Raises:
            StoppedError: `stop` was called.
        """
        if self._free:
            return
        while True:
            with self._condition:
                self.check()
                wait = self._wait()
                if wait <= 0:
                    if self._rate is not None:
                        self._debt += events
                    return
                self._condition.wait(min(wait, _TICK))
            if tick is not None:
                tick()

    def _wait(self) -> float:
        if self._holds:
            return _TICK
        self._pay()
        return self._debt / self._rate if self._rate is not None else 0.0

    def _pay(self) -> None:
        now = self._clock()
        if self._rate is None:
            self._debt = 0.0
        else:
            self._debt = max(0.0, self._debt - (now - self._paid_at) * self._rate)
        self._paid_at = now

    def _changed(self) -> None:
        self._free = self._rate is None and not self._holds and self._stop_reason is None
        self._condition.notify_all()

    def _watch(self, every: float) -> None:
        while not self._closed.wait(every) and not self.stopped:
            self._ask_all()

    def _ask_all(self) -> None:
        for number, protection in enumerate(self._protections):
            by = f"protection {number}"
            try:
                reason = protection.check()
            except Exception as error:
                reason = f"{type(protection).__name__} can't see: {error}"
            if reason is None:
                self.resume(by)
            else:
                self.pause(reason, by)
