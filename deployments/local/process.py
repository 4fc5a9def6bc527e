"""One process of the stack: start it, find it again from another process, signal it, read the end of its log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

TAIL_LINES = 4
# Seconds by which the system may correct its clock, and with it the start times of processes.
CLOCK_STEP = 10.0
# The variable in a node's environment that names the folder of its stack.
MARK = "REDRIVE_LOCAL_STACK"

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
            if abs(process.create_time() - self.created) > CLOCK_STEP:
                return None
            # A killed program has ended, and left its ports and files, only with the last of its threads.
            if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
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


def spawn(launch: Launch, log: Path, owner: Path | None = None) -> Identity:
    """Start a process in a session of its own (a Ctrl-C in the terminal does not reach it), its output in the log.

    Args:
        launch: what to start.
        log: where its output goes.
        owner: the folder of the stack that it belongs to, for ``belonging_to``.
    """
    mark = {MARK: str(owner)} if owner else {}
    environment = {name: value for name, value in {**os.environ, **launch.environment, **mark}.items() if value}
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


def cpu_seconds(process: psutil.Process) -> float | None:
    """Seconds of processor time that a process has used; None if it has ended."""
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return None
    return float(used.user + used.system)


def belonging_to(owner: Path) -> list[Identity]:
    """The processes of a stack by the mark they were born with, noted in its state or not."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(owner):
                found.append(Identity(process.pid, process.create_time()))
    return found


def how_it_ended(identity: Identity) -> str:
    """Say how a process ended, as far as this process can know."""
    child = _children.get(identity.pid)
    code = child.poll() if child else None
    if not code:
        return "has ended"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def freeze(identity: Identity) -> None:
    """Send SIGSTOP and wait until it has worked, as signals take their time on a busy machine."""
    if identity.send(signal.SIGSTOP):
        while (process := identity.process()) and process.status() != psutil.STATUS_STOPPED:
            time.sleep(0.005)


def stop(identities: Iterable[Identity], patience: float) -> None:
    """End processes: ask all at once, wait, then kill those that are left. Returns when none of them runs."""
    left = list(identities)
    if patience:
        for identity in left:
            identity.send(signal.SIGTERM)
            identity.send(signal.SIGCONT)
        left = _wait(left, patience)
    for identity in left:
        identity.send(signal.SIGKILL)
    _wait(left, 10)


def _wait(identities: list[Identity], seconds: float) -> list[Identity]:
    """Wait for the end of processes; those that run on. A zombie has ended, whoever its parent is."""
    deadline = time.monotonic() + seconds
    while (left := [identity for identity in identities if identity.process()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for identity in identities:
        if child := _children.get(identity.pid):
            child.poll()
    return left


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
