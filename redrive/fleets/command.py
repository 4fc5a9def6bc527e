"""`CommandFleet`: two commands of the settings, for whatever adds brokers: Strimzi, Terraform, a script.

Neither goes through a shell. Both run in the folder of the settings.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from redrive.config import CommandFleetConfig
from redrive.errors import FleetError, UnavailableError
from redrive.fleets.fleet import Sample, Shape

LOAD_TIMEOUT = 60.0
"""Seconds that the command may take that prints the load."""
LONGEST_STEP = 60.0
STEPS = 10
_MERCY = 5.0  # seconds from SIGTERM to SIGKILL
_QUOTED = 300  # characters


class _HangsError(FleetError):
    """A command has not ended in its time."""


class CommandFleet:
    """Two commands: one prints the load now as JSON, broker id → percent; one has the fleet grow.

    Args:
        config: the commands.
        setting: where the settings have them, such as ``clusters.local.fleet``.
        folder: where they run.
        clock: seconds since 1970.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        config: CommandFleetConfig,
        setting: str,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config, self._setting, self._folder = config, setting, folder
        self._clock, self._sleep = clock, sleep

    def step(self, seconds: float) -> float:
        """See `redrive.fleets.fleet.Fleet.step`."""
        return min(LONGEST_STEP, seconds / STEPS)

    def samples(self, brokers: Collection[int], seconds: float) -> list[Sample]:
        """Ask for the load now and again, for so many seconds from now on.

        Args:
            brokers: of no use here: the command names those that it knows.
            seconds: for so long.
        """
        begun, found = self._clock(), list[Sample]()
        while True:
            at = self._clock()  # before: the command may take its time, and what it says covers that
            found.append(Sample(at, self._load()))
            if at >= begun + seconds:
                return found
            self._sleep(max(0.0, begun + len(found) * self.step(seconds) - self._clock()))

    def shape(self) -> Shape:
        """Say what the commands can't: nothing. How many brokers there are, the cluster says."""
        return Shape()

    def grow(self, brokers: int) -> None:
        """Run the command that has the fleet grow, and wait for its end."""
        command = [word.replace("{brokers}", str(brokers)) for word in self._config.add]
        try:
            self._run("add", command, self._config.timeout)
        except _HangsError as error:  # what it has set about by then may still come
            raise UnavailableError(error.fleet, error.reason) from error

    def _load(self) -> dict[int, float]:
        text = self._run("load", self._config.load, LOAD_TIMEOUT)
        try:
            return _read(json.loads(text))
        except ValueError as error:
            raise self._error("load", f"must print broker ids and percent as JSON: {error}; it printed", text) from None

    def _run(self, name: str, command: Sequence[str], timeout: float) -> str:
        # Files, not pipes: whatever a command leaves running in the background would keep a pipe open.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            try:
                process = subprocess.Popen(
                    command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                raise FleetError(
                    f"{self._setting}.{name}", f"{command[0]} can't be started: {error.strerror}; name a program there"
                ) from error
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                told = self._error(name, f"has not ended after {timeout:g} s; its stderr ends with", _text(err))
                raise _HangsError(told.fleet, told.reason) from None
            except BaseException:  # a cancel
                _end(process)
                raise
            if code:
                raise self._error(name, f"ended with exit code {code}; its stderr ends with", _text(err))
            return _text(out)

    def _error(self, name: str, reason: str, quoted: str) -> FleetError:
        end = quoted.strip()[-_QUOTED:]
        return FleetError(f"{self._setting}.{name}", f"{reason} {end!r}" if end else f"{reason} nothing")


def _read(given: Any) -> dict[int, float]:
    if not isinstance(given, dict) or not given:
        raise ValueError('not an object such as {"1": 42.5}')
    load = {}
    for broker, percent in given.items():
        number = isinstance(percent, int | float) and not isinstance(percent, bool) and math.isfinite(percent)
        if not broker.isdecimal() or not number or percent < 0:
            raise ValueError(f"{broker!r}: {percent!r} is not a broker id and a percentage")
        load[int(broker)] = float(percent)
    return load


def _text(file: Any) -> str:
    file.seek(0)
    return bytes(file.read()).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it has started, unless that has a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_MERCY)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return
