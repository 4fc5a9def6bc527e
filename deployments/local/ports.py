"""The ports of the nodes: well-known ones or free ones, and who holds one that is taken."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from deployments.local.brokers import Broker, broker_of
from deployments.local.errors import PortTakenError, on_disk_errors
from deployments.local.state import PortChoice, StateFile, locked

SERVICES = {"dynamodb": 28000, "registry": 28081, "prefect": 24200}
# A broker's own number is added to these, and this for each cluster before its own.
BROKER, CONTROLLER = 29091, 29190
NEXT_CLUSTER = 200
# Below the ports that systems give to outgoing connections: a killed broker finds its port free again.
FREE = range(20000, 28000)

CLAIMS = Path(tempfile.gettempdir()) / f"redrive-ports-{os.getuid()}"
"""A file for each free port that a stack has chosen, with the stack's folder in it."""
_YOUNG = 60.0
"""Seconds in which whoever has claimed a port notes it in its state."""


def choose(
    choice: PortChoice, nodes: Iterable[str], folder: Path, clusters: Sequence[str] = ()
) -> dict[str, list[int]]:
    """For each node its port, and for a broker that is a controller the port for that; see `state.State.clusters`.

    Free ones are those that nobody listens on, and that no other stack has chosen: its broker may be dead for now.

    Args:
        choice: well-known ones or free ones.
        nodes: their names.
        folder: of the stack that they are for.
        clusters: see there.
    """
    ports: dict[str, list[int]] = {}
    for node in nodes:
        broker = broker_of(node)
        known = _known(broker, clusters) if broker else [SERVICES[node]]
        ports[node] = [_free(folder) if choice == "free" else port for port in known]
    return ports


def _known(broker: Broker, clusters: Sequence[str]) -> list[int]:
    more = broker.number + NEXT_CLUSTER * (clusters.index(broker.further) if broker.further else 0)
    return [BROKER + more, CONTROLLER + more] if broker.is_controller else [BROKER + more]


def _free(folder: Path) -> int:
    while not (is_free(port := random.choice(FREE)) and _claim(port, folder)):
        pass
    return port


def _claim(port: int, folder: Path) -> bool:
    with locked(CLAIMS / "lock"), on_disk_errors(CLAIMS):
        claim = CLAIMS / str(port)
        if claim.exists() and not _has_lapsed(claim, port):
            return False
        claim.write_text(str(folder.absolute()))
        return True


def _has_lapsed(claim: Path, port: int) -> bool:
    """Whether a claim's stack is gone, or has chosen other ports since."""
    if time.time() - claim.stat().st_mtime < _YOUNG:
        return False
    state = StateFile(Path(claim.read_text())).load()
    return state is None or not any(port in both for both in state.ports.values())


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do it, so that connections of the last run, still winding down, are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require_free(node: str, port: int) -> None:
    """Fail if a port is taken, saying by whom.

    Raises:
        PortTakenError: it is.
    """
    if is_free(port):
        return
    holder = "another process"
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                holder = f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
                break
    except psutil.Error:
        pass  # another user's process: its number is not for us to see
    raise PortTakenError(node, port, holder)
