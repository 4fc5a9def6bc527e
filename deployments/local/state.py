"""What is known of a stack, on disk, so that any process can look at it and act on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from deployments.local.errors import on_disk_errors
from deployments.local.process import Identity

PortChoice = Literal["default", "free"]


class State(msgspec.Struct):
    """The stack in one data folder, as ``stack.json`` there holds it.

    Attributes:
        choice: how ports are chosen.
        detached: whether it outlives the process that started it.
        ports: node to its ports: the one for clients, and a controller's second one.
        processes: node to its last process, running or not; empty after a stop.
        cluster_id: what all brokers of the first cluster share, as long as its data live; see `brokers.cluster_id`.
        guard: the process that stops the stack when its owner has gone.
        secure: whether Kafka asks who comes, and lets nobody do what no ACL allows.
        clusters: the names of its Kafka clusters in Redrive's settings.
    """

    choice: PortChoice = "default"
    detached: bool = False
    ports: dict[str, list[int]] = {}
    processes: dict[str, Identity] = {}
    cluster_id: str = ""
    guard: Identity | None = None
    secure: bool = False
    clusters: list[str] = msgspec.field(default_factory=lambda: ["local"])

    def runs(self, node: str | None = None) -> bool:
        """Whether a node runs, or any of them."""
        identities = self.processes.values() if node is None else [self.processes.get(node)]
        return any(identity and identity.process() for identity in identities)


class StateFile:
    """``stack.json`` of one data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "stack.json"

    def load(self) -> State | None:
        """The state, or None if there was never a stack here."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return None

    def save(self, state: State) -> None:
        """Write it whole or not at all."""
        with on_disk_errors(self._path):
            scratch = self._path.with_suffix(".new")
            scratch.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
            scratch.rename(self._path)

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Let one process at a time change the stack."""
        with locked(self._folder / "stack.lock"):
            yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block: the others wait, and the lock of one that dies is free."""
    with on_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
