"""The ports of the nodes: well-known ones or free ones, and who holds one that is taken."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Iterable

import psutil

from deployments.local.errors import PortTakenError
from deployments.local.kafka import CONTROLLERS, broker_id
from deployments.local.state import PortChoice

SERVICES = {"dynamodb": 28000, "registry": 28081, "prefect": 24200}
# A broker's own number is added to these.
BROKER, CONTROLLER = 29091, 29190
# Below the ports that systems give to outgoing connections: a killed broker finds its port free again.
FREE = range(20000, 28000)


def choose(choice: PortChoice, nodes: Iterable[str]) -> dict[str, list[int]]:
    """For each node its port, and for a broker that is a controller the port for that."""
    ports: dict[str, list[int]] = {}
    for node in nodes:
        wanted = [BROKER, CONTROLLER] if broker_id(node) in CONTROLLERS else [BROKER]
        ports[node] = []
        for base in wanted:
            if choice == "free":
                port = _free({port for both in ports.values() for port in both})
            else:
                port = SERVICES.get(node) or base + broker_id(node)
            ports[node].append(port)
    return ports


def _free(used: Collection[int]) -> int:
    while (port := random.choice(FREE)) in used or not is_free(port):
        pass
    return port


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
