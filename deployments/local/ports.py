"""The ports of the nodes: well-known ones or free ones, and who holds one that is taken."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection, Iterable, Sequence

import psutil

from deployments.local.brokers import Broker, broker_of
from deployments.local.errors import PortTakenError
from deployments.local.state import PortChoice

SERVICES = {"dynamodb": 28000, "registry": 28081, "prefect": 24200}
# A broker's own number is added to these, and this for each cluster before its own.
BROKER, CONTROLLER = 29091, 29190
NEXT_CLUSTER = 200
# Below the ports that systems give to outgoing connections: a killed broker finds its port free again.
FREE = range(20000, 28000)


def choose(choice: PortChoice, nodes: Iterable[str], clusters: Sequence[str] = ()) -> dict[str, list[int]]:
    """For each node its port, and for a broker that is a controller the port for that; see `state.State.clusters`."""
    ports: dict[str, list[int]] = {}
    for node in nodes:
        broker = broker_of(node)
        known = _known(broker, clusters) if broker else [SERVICES[node]]
        ports[node] = []
        for port in known:
            used = {port for both in ports.values() for port in both}
            ports[node].append(_free(used) if choice == "free" else port)
    return ports


def _known(broker: Broker, clusters: Sequence[str]) -> list[int]:
    more = broker.number + NEXT_CLUSTER * (clusters.index(broker.further) if broker.further else 0)
    return [BROKER + more, CONTROLLER + more] if broker.is_controller else [BROKER + more]


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
