"""What a stack shows of itself: where it answers, how its nodes are, which variables point at it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from deployments.local import DATA_VARIABLE, services
from deployments.local.brokers import brokers
from deployments.local.nodes import log_of
from deployments.local.security import Security
from deployments.local.state import State


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the stack answers.

    Attributes:
        bootstrap: the first cluster's brokers, ``host:port`` with commas between. Empty, as the next two, if there is
            only Prefect.
        clusters: the same of each cluster, by its name in the settings.
        dynamodb: URL.
        registry: URL of the Confluent-compatible API.
        prefect_api: URL, or None if the stack has no Prefect.
        prefect_ui: URL, likewise.
    """

    bootstrap: str
    clusters: dict[str, str]
    dynamodb: str
    registry: str
    prefect_api: str | None
    prefect_ui: str | None


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How one node is.

    Attributes:
        node: its name.
        state: ``running``, ``paused`` (stopped by a signal), ``dead`` (its process ended by itself or was killed) or
            ``down`` (stopped in good order, or never started).
        pid: its process, if there is one.
        port: where it serves.
        memory: resident bytes, if it runs.
        log: its log file.
    """

    node: str
    state: Literal["running", "paused", "dead", "down"]
    pid: int | None
    port: int
    memory: int | None
    log: Path


def endpoints(state: State) -> Endpoints:
    """Where the nodes answer, whether they run or not."""
    url = {node: f"http://127.0.0.1:{ports[0]}" for node, ports in state.ports.items()}
    found = {
        name: ",".join(
            f"127.0.0.1:{state.ports[broker.node][0]}" for broker in brokers(state.ports, name if place else "")
        )
        for place, name in enumerate(state.clusters)
    }
    return Endpoints(
        bootstrap=found[state.clusters[0]],
        clusters={name: bootstrap for name, bootstrap in found.items() if bootstrap},
        dynamodb=url.get("dynamodb", ""),
        registry=url["registry"] + "/apis/ccompat/v7" if "registry" in url else "",
        prefect_api=url["prefect"] + "/api" if "prefect" in url else None,
        prefect_ui=url.get("prefect"),
    )


def environment(state: State, folder: Path) -> dict[str, str]:
    """Variables that point Redrive (its clusters, such as ``local``), Prefect and AWS's libraries at the stack."""
    where = endpoints(state)
    variables: dict[str, str] = {}
    for name, bootstrap in where.clusters.items():
        variables[f"REDRIVE_CLUSTERS__{name.upper()}__BOOTSTRAP"] = bootstrap
        if state.secure:
            variables |= Security(folder).settings(name)
    if where.bootstrap:
        variables |= {
            "REDRIVE_STANDBY__ENDPOINT": where.dynamodb,
            "REDRIVE_STANDBY__REGION": services.REGION,
            "REDRIVE_REGISTRY__URL": where.registry,
            # For what adds brokers to it, such as `redrive local add-broker`, wherever a job calls that.
            DATA_VARIABLE: str(folder),
            **services.CREDENTIALS,
        }
    if "prefect" in state.ports:
        variables |= services.prefect_environment(state.ports["prefect"][0], folder / "prefect")
    return variables


def status(node: str, state: State, folder: Path) -> NodeStatus:
    """How one node is now."""
    identity = state.processes.get(node)
    port, log = state.ports[node][0], log_of(folder, node)
    try:
        if identity and (process := identity.process()):
            paused = process.status() == psutil.STATUS_STOPPED
            memory = process.memory_info().rss
            return NodeStatus(node, "paused" if paused else "running", identity.pid, port, memory, log)
    except psutil.NoSuchProcess:
        pass  # it ended just now
    return NodeStatus(node, "dead" if identity else "down", None, port, None, log)
