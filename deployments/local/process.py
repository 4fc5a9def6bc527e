"""One process of the stack: start it, find it again from another process, signal it, read the end of its log."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TAIL_LINES = 4

# Kept because a Popen that is collected while its process runs complains; and it knows the exit code.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start.

    Attributes:
        argv: the command.
        environment: variables over those of this process; an empty one is removed.
    """

    argv: list[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, told from a later one with the same number by its start time.

    Attributes:
        pid: its number.
        created: its start, seconds since 1970.
    """

    pid: int
    created: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The identity of a process that runs now."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) > 1 or process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        return process

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; False if the process runs no more."""
        process = self.process()
        if process is None:
            return False
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        return True


def spawn(launch: Launch, log: Path) -> Identity:
    """Start a process in a session of its own (a Ctrl-C in the terminal does not reach it), its output in the log."""
    environment = {name: value for name, value in {**os.environ, **launch.environment}.items() if value}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            launch.argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[child.pid] = child
    return Identity.of(child.pid)


def how_it_ended(identity: Identity) -> str:
    """Say how a process ended, as far as this process can know."""
    child = _children.get(identity.pid)
    code = child.poll() if child else None
    if not code:
        return "has ended"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def stop(identities: Iterable[Identity], patience: float) -> None:
    """End processes: ask all at once, wait, then kill those that are left. Returns when none of them runs."""
    left = [process for identity in identities if (process := identity.process())]
    if patience:
        for process in left:
            _quietly(process, signal.SIGTERM)
            _quietly(process, signal.SIGCONT)
        _, left = psutil.wait_procs(left, timeout=patience)
    for process in left:
        _quietly(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=10)


def _quietly(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def tail(log: Path) -> str:
    """The last lines of a log, in one line, without the frames of stack traces."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 32768))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        lines = []
    telling = [line for line in lines if line and not line.startswith(("at ", "... "))]
    return " | ".join(telling[-TAIL_LINES:]) or "(nothing)"
