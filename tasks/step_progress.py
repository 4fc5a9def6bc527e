"""How far a step is that reads for long, before anything is moved: nobody should have to guess whether it works."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client

from tasks import artifacts
from tasks.operations import Run
from tasks.words import count, number

STEP = "-step"
"""How the keys of these artifacts end."""
AFTER = 3.0
"""Seconds before there is one: steps that are done by then leave nothing behind."""
EVERY = 1.0


class StepProgress:
    """A progress artifact of a step, changed in place at most once a second; made only if the step takes long.

    Args:
        run: the run.
        doing: what the step does, such as ``judging letters``.
        thing: what is counted, such as ``event``.
    """

    def __init__(self, run: Run, doing: str, thing: str) -> None:
        self._run, self._doing, self._thing = run, doing, thing
        self._log = get_run_logger()
        self._next = time.monotonic() + AFTER
        self._artifact: UUID | None = None
        self._shown = ("", 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._artifact is not None and kind is None and self._next < float("inf"):
            place, total = self._shown
            self._show(place, total, total)

    def __call__(self, done: int, total: int) -> None:
        """Hear how many are done, of about how many; after one report that can't be made there are no more."""
        self.at("", done, total)

    def at(self, place: str, done: int, total: int) -> None:
        """Hear the same of one place, such as a topic, of several that the step goes through."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._show(place, done, total)

    def _show(self, place: str, done: int, total: int) -> None:
        percent = min(100.0, 100 * done / total) if total else 100.0
        line = f"{self._doing}{place and ' '}{place}: {number(done)} of {count(total, self._thing)}"
        self._shown = (place, total)
        try:
            with get_client(sync_client=True) as client:
                if self._artifact is None:
                    self._log.info(line)
                    key = self._run.job + STEP
                    self._artifact = artifacts.create(
                        client, self._run.flow_run, key=key, kind="progress", data=percent, description=line
                    )
                else:
                    artifacts.update(client, self._artifact, percent, line)
        except Exception as error:
            self._next = float("inf")  # each would take its time-out, in which the step stands still
            self._log.warning("how far this step is can't be shown any more: %s", error)
