"""`redrive up`, called as in a shell of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from deployments.local.stack import Stack
from deployments.worker import ROOT


class Up:
    """The command, and what it has printed.

    Args:
        file: the settings.
        data: the folder of the stack that it may start.
        options: further ones.
    """

    def __init__(self, file: Path, data: Path, *options: str) -> None:
        ours = ("REDRIVE_", "PREFECT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.data, self._lines = data, list[str]()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from deployments.cli import main; main()", "--config", str(file),
             "up", "--data", str(data), *options],
            env={**environment, "PYTHONPATH": str(ROOT)}, cwd=file.parent, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    @property
    def said(self) -> str:
        """All that it has printed; once it has ended, to the last line."""
        if self.process.poll() is not None:
            self._reader.join(10)
        return "".join(self._lines)

    def wait_for(self, done: Callable[[], bool], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)

    def worker(self) -> psutil.Process | None:
        for each in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):  # it has just ended
                if "deployments.worker" in each.cmdline():
                    return each
        return None

    def clean_up(self) -> None:
        """End it, and delete what it has started."""
        if self.process.poll() is None:
            self.process.kill()
        Stack(self.data).down(wipe=True)
