"""Telling whoever waits for a run how far it is."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from redrive.cli.output import note

if TYPE_CHECKING:
    from deployments.follow import Moment


class Teller:
    """Prints what is new: on a terminal a line that changes, elsewhere a line now and then.

    Args:
        run_id: of the flow run.
        url: where people look at it; empty if there is no such place.
    """

    def __init__(self, run_id: str, url: str) -> None:
        self._approve = f"redrive approve {run_id} --reason WHY" + (f", or Resume on its page: {url}" if url else "")
        self._page = f": {url}" if url else ""
        self._word = ""
        self._line = ""
        self._at = float("-inf")
        self._open = False

    def __call__(self, moment: Moment) -> None:
        """Tell what is new about the run by now."""
        word = self._what(moment)
        if word != self._word:
            self._word = word
            self._end_line()
            note(word)
        if not moment.line or moment.line == self._line:
            return
        self._line = moment.line
        line = f"{moment.progress or 0:5.1f} %  {moment.line}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
            self._open = True
        elif time.monotonic() - self._at >= 2:
            self._at = time.monotonic()
            note(line)

    def _what(self, moment: Moment) -> str:
        """Say what the run is at, and, if that is waiting for somebody, for whom and the way on."""
        if moment.asks:
            return f"waits for approval: {self._approve}"
        if moment.paused:
            from tasks.paused import PAUSED, RESUME

            return f"{PAUSED}: {RESUME}{self._page}"
        return (moment.state.name or "").lower()

    def _end_line(self) -> None:
        if self._open:
            note("")
            self._open = False
