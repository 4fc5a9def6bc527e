"""What each node of the stack is: how it is made ready, what starts it, whether it serves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from deployments.local import kafka, process, services
from deployments.local.brokers import Broker, broker_of, cluster_id
from deployments.local.errors import NodeDiedError, on_disk_errors
from deployments.local.jars import Programs
from deployments.local.process import Launch
from deployments.local.security import Security
from deployments.local.state import State


def log_of(folder: Path, node: str) -> Path:
    """A node's log file."""
    return folder / "logs" / f"{node}.log"


def prepare(node: str, folder: Path, state: State, programs: Programs | None) -> Launch:
    """Make a node's folder ready and say what starts it; Prefect's server needs no programs.

    Raises:
        DiskFullError: no room.
        NodeDiedError: a broker's folder could not be formatted.
    """
    home = folder / node
    port = state.ports[node][0]
    with on_disk_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        if node == "prefect":
            return services.prefect_command(port, home)
        assert programs is not None
        if broker := broker_of(node):
            return _prepare_broker(broker, folder, state, programs)
    if node == "dynamodb":
        shutil.rmtree(home / "tmp", ignore_errors=True)
        (home / "tmp").mkdir()
        return services.dynamodb_command(programs, port, home)
    return services.registry_command(programs, port, home)


def _prepare_broker(broker: Broker, folder: Path, state: State, programs: Programs) -> Launch:
    node, number = broker.node, broker.number
    home, log = folder / node, log_of(folder, node)
    controllers = {each: state.ports[Broker(broker.further, each).node][1] for each in broker.controllers}
    port = state.ports[node][0]
    more: dict[str, object] = {}
    options: list[str] = []
    if state.secure:
        security = Security(folder)
        security.prepare()
        more = security.broker_settings(number, port, controllers)
        options = security.format_options() if number in controllers else []
    config = kafka.write_configuration(home, number, port, controllers, more)
    # Formatting writes this file last.
    if not (home / "log" / "meta.properties").exists():
        launch = kafka.format_command(programs.kafka, config, cluster_id(state.cluster_id, broker.further), options)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            code = subprocess.run(launch.argv, stdout=output, stderr=subprocess.STDOUT).returncode
        if code:
            raise NodeDiedError(node, f"could not be formatted (exit code {code})", log, process.tail(log))
    return kafka.start_command(programs.kafka, config)


def why_not_ready(node: str, folder: Path, state: State) -> str:
    """Why a node does not serve; empty if it does."""
    port = state.ports[node][0]
    if broker := broker_of(node):
        return kafka.why_not_ready(broker.number, port, Security(folder).client_config() if state.secure else None)
    return {
        "dynamodb": services.dynamodb_why_not_ready,
        "registry": services.registry_why_not_ready,
        "prefect": services.prefect_why_not_ready,
    }[node](port)
