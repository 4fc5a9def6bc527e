"""The local stack: three Kafka brokers, DynamoDB Local, a schema registry and Prefect's server on this machine."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import psutil

from deployments.local import jars, kafka, process, services
from deployments.local.errors import NodeDiedError, NotReadyError, StackError
from deployments.local.process import Identity, Launch
from deployments.local.state import PortChoice, State, StateFile

DEFAULT_PORTS = {"dynamodb": 28000, "registry": 28081, "prefect": 24200}
# Below the ports that the systems give to outgoing connections: a killed broker finds its port free again.
FREE_PORTS = range(20000, 32000)
START_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the stack answers.

    Attributes:
        bootstrap: the brokers, ``host:port`` with commas between.
        dynamodb: URL.
        registry: URL of the Confluent-compatible API.
        prefect_api: URL, or None if the stack has no Prefect.
        prefect_ui: URL, likewise.
    """

    bootstrap: str
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


class Stack:
    """One stack, its data and logs in one folder.

    As a context manager it runs inside the block. A stack that is not detached ends with the process that started
    it, even if that one is killed.
    """

    def __init__(self, folder: str | Path, ports: PortChoice = "default", *, prefect: bool = True) -> None:
        self.folder = Path(folder).absolute()
        self._choice: PortChoice = ports
        self._prefect = prefect
        self._file = StateFile(self.folder)

    @classmethod
    def attach(cls, folder: str | Path) -> Self:
        """A stack that another process has started.

        Raises:
            StackError: there is none in this folder.
        """
        state = StateFile(Path(folder).absolute()).load()
        if state is None:
            raise StackError(f"there is no local stack in {folder}; start one with `redrive local up`")
        return cls(folder, state.choice, prefect="prefect" in state.ports)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._state().detached:
            self.down()

    # What is known

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return list(self._state().ports)

    @property
    def endpoints(self) -> Endpoints:
        """Where the nodes answer, whether they run or not."""
        ports = {node: both[0] for node, both in self._state().ports.items()}
        url = {node: f"http://127.0.0.1:{port}" for node, port in ports.items()}
        return Endpoints(
            bootstrap=",".join(f"127.0.0.1:{port}" for node, port in ports.items() if _broker_id(node)),
            dynamodb=url["dynamodb"],
            registry=url["registry"] + "/apis/ccompat/v7",
            prefect_api=url["prefect"] + "/api" if "prefect" in url else None,
            prefect_ui=url.get("prefect"),
        )

    def environment(self) -> dict[str, str]:
        """Variables that point Redrive, Prefect and AWS's libraries at this stack."""
        endpoints = self.endpoints
        state = self._state()
        prefect = services.prefect_environment(state.ports["prefect"][0], self.folder / "prefect")
        return {
            "REDRIVE_CLUSTERS__LOCAL__BOOTSTRAP": endpoints.bootstrap,
            "REDRIVE_STANDBY__ENDPOINT": endpoints.dynamodb,
            "REDRIVE_STANDBY__REGION": services.REGION,
            "REDRIVE_REGISTRY__URL": endpoints.registry,
            **services.CREDENTIALS,
            **(prefect if "prefect" in state.ports else {}),
        }

    def status(self) -> list[NodeStatus]:
        """How each node is."""
        state = self._state()
        return [self._status_of(node, state) for node in state.ports]

    # Start and stop

    def up(self, *, detached: bool = False) -> None:
        """Start every node that does not run and wait until all serve.

        Args:
            detached: let the stack outlive this process.

        Raises:
            StackError: a stack that is not detached runs here already.
            DownloadError, ChecksumError, DiskFullError: a program could not be fetched.
            PortTakenError: a port is not free.
            NodeDiedError, NotReadyError: a node did not come up. Then everything is stopped again.
        """
        programs = jars.ensure()
        with self._file.exclusively():
            state = self._file.load() or State()
            if not state.runs():
                state = State(self._choice, detached, self._choose_ports(state))
            elif not (detached and state.detached):
                raise StackError(f"a local stack runs in {self.folder}; stop it with `redrive local down`")
            missing = [node for node in state.ports if not _running(state, node)]
            for node in missing:
                for port in state.ports[node]:
                    process.require_free(node, port)
            try:
                if not detached:
                    state.guard = self._start_guard()
                self._launch(missing, state, programs)
            except BaseException:
                self._stop(state, patience=0)
                raise
        try:
            self.wait_ready(missing)
        except BaseException:
            self.down()
            raise

    def down(self, *, wipe: bool = False) -> None:
        """Stop every node.

        Args:
            wipe: delete the data as well; then nobody waits for an orderly stop.
        """
        with self._file.exclusively():
            if state := self._file.load():
                self._stop(state, patience=0 if wipe else 10)
        if wipe:
            shutil.rmtree(self.folder, ignore_errors=True)

    def detach(self) -> None:
        """Let a running stack outlive this process."""
        with self._file.exclusively():
            state = self._state()
            state.detached = True
            if state.guard:
                process.stop([state.guard], patience=0)
                state.guard = None
            self._file.save(state)

    # Single nodes

    def kill(self, node: str) -> None:
        """End a node by SIGKILL; returns when its process is gone."""
        process.stop([self._identity(node)], patience=0)

    def start(self, node: str, *, wait: bool = True) -> None:
        """Start a node that does not run; with ``wait`` until it serves."""
        programs = jars.ensure()
        with self._file.exclusively():
            state = self._state()
            self._known(node, state)
            if not _running(state, node):
                for port in state.ports[node]:
                    process.require_free(node, port)
                self._launch([node], state, programs)
        if wait:
            self.wait_ready([node])

    def pause(self, node: str) -> None:
        """Freeze a node by SIGSTOP."""
        self._send(node, signal.SIGSTOP)

    def resume(self, node: str) -> None:
        """Let a frozen node go on."""
        self._send(node, signal.SIGCONT)

    def add_broker(self) -> str:
        """Join one more broker to the cluster and wait until it serves; its name."""
        with self._file.exclusively():
            state = self._state()
            number = 1 + max(_broker_id(node) for node in state.ports)
            node = f"kafka-{number}"
            state.ports[node] = [29091 + number if state.choice == "default" else _free_port(state.ports)]
            self._file.save(state)
        self.start(node)
        return node

    def wait_ready(self, nodes: Iterable[str], timeout: float = START_TIMEOUT) -> None:
        """Wait until nodes serve.

        Raises:
            NodeDiedError: one of them ended.
            NotReadyError: one of them does not serve in time.
        """
        state = self._state()
        deadline = time.monotonic() + timeout
        waiting = list(nodes)
        reason = ""
        while waiting:
            for node in list(waiting):
                identity = state.processes[node]
                if identity.process() is None:
                    log = self._log(node)
                    raise NodeDiedError(node, process.how_it_ended(identity), log, process.tail(log))
                reason = _why_not_ready(node, state.ports[node][0])
                if not reason:
                    waiting.remove(node)
                elif time.monotonic() > deadline:
                    log = self._log(node)
                    raise NotReadyError(node, timeout, reason, log, process.tail(log))
            if waiting:
                time.sleep(0.2)

    # Inside

    def _state(self) -> State:
        state = self._file.load()
        if state is None:
            raise StackError(f"there is no local stack in {self.folder}; start one with `redrive local up`")
        return state

    def _log(self, node: str) -> Path:
        return self.folder / "logs" / f"{node}.log"

    def _known(self, node: str, state: State) -> None:
        if node not in state.ports:
            raise StackError(f"there is no node {node}; there are {', '.join(state.ports)}")

    def _identity(self, node: str) -> Identity:
        state = self._state()
        self._known(node, state)
        if not _running(state, node):
            raise StackError(f"{node} does not run; start it with `redrive local start {node}`")
        return state.processes[node]

    def _send(self, node: str, number: signal.Signals) -> None:
        self._identity(node).send(number)

    def _status_of(self, node: str, state: State) -> NodeStatus:
        identity = state.processes.get(node)
        port, log = state.ports[node][0], self._log(node)
        try:
            if identity and (running := identity.process()):
                paused = running.status() == psutil.STATUS_STOPPED
                memory = running.memory_info().rss
                return NodeStatus(node, "paused" if paused else "running", identity.pid, port, memory, log)
        except psutil.NoSuchProcess:
            pass
        return NodeStatus(node, "dead" if identity else "down", None, port, None, log)

    def _choose_ports(self, before: State) -> dict[str, list[int]]:
        """Ports for the nodes of a fresh start; brokers that joined earlier are among them."""
        brokers = sorted({*kafka.CONTROLLERS, *filter(None, map(_broker_id, before.ports))})
        others = ["dynamodb", "registry", *(["prefect"] if self._prefect else [])]
        if self._choice == "default":
            return {
                **{f"kafka-{n}": [29091 + n, *([29190 + n] if n in kafka.CONTROLLERS else [])] for n in brokers},
                **{node: [DEFAULT_PORTS[node]] for node in others},
            }
        ports: dict[str, list[int]] = {}
        for number in brokers:
            ports[f"kafka-{number}"] = []
            for _ in range(2 if number in kafka.CONTROLLERS else 1):
                ports[f"kafka-{number}"].append(_free_port(ports))
        for node in others:
            ports[node] = [_free_port(ports)]
        return ports

    def _start_guard(self) -> Identity:
        owner = Identity.of(os.getpid())
        module = [sys.executable, "-m", "deployments.local.guard"]
        root = str(Path(__file__).parents[2])
        launch = Launch([*module, str(self.folder), str(owner.pid), str(owner.created)], {"PYTHONPATH": root})
        return process.spawn(launch, self._log("guard"))

    def _launch(self, nodes: list[str], state: State, programs: jars.Programs) -> None:
        """Start processes, noting each in the state at once."""
        with ThreadPoolExecutor(len(kafka.CONTROLLERS)) as pool:
            brokers = [node for node in nodes if _broker_id(node)]
            formatted = {node: pool.submit(self._prepare_broker, node, state, programs) for node in brokers}
            for node in [*(node for node in nodes if node not in formatted), *formatted]:
                if node in formatted:
                    formatted[node].result()
                state.processes[node] = process.spawn(self._command(node, state, programs), self._log(node))
                self._file.save(state)

    def _command(self, node: str, state: State, programs: jars.Programs) -> Launch:
        home = self.folder / node
        port = state.ports[node][0]
        if _broker_id(node):
            return kafka.start_command(programs.kafka, home / "server.properties")
        home.mkdir(exist_ok=True)
        if node == "dynamodb":
            return services.dynamodb_command(programs, port, home)
        if node == "registry":
            return services.registry_command(programs, port, home)
        return services.prefect_command(port, home)

    def _prepare_broker(self, node: str, state: State, programs: jars.Programs) -> None:
        """Write a broker's configuration; format its folder if it is new."""
        home = self.folder / node
        with jars.on_disk_errors(home):
            home.mkdir(parents=True, exist_ok=True)
            controllers = {n: state.ports[f"kafka-{n}"][1] for n in kafka.CONTROLLERS}
            config = home / "server.properties"
            config.write_text(kafka.configuration(_broker_id(node), state.ports[node][0], controllers, home))
            (home / "log4j2.properties").write_text(kafka.LOGGING)
            if (home / "log" / "meta.properties").exists():
                return
            launch = kafka.format_command(programs.kafka, config, self._cluster_id())
            log = self._log(node)
            log.parent.mkdir(exist_ok=True)
            with log.open("ab") as output:
                code = subprocess.run(launch.argv, stdout=output, stderr=subprocess.STDOUT).returncode
        if code:
            raise NodeDiedError(node, f"could not be formatted (exit code {code})", log, process.tail(log))

    def _cluster_id(self) -> str:
        """The id that all brokers of this folder share, made at the first start."""
        file = self.folder / "cluster.id"
        try:
            with file.open("x") as new:
                new.write(kafka.new_cluster_id())
        except FileExistsError:
            pass
        return file.read_text()

    def _stop(self, state: State, patience: float) -> None:
        guard = [state.guard] if state.guard else []
        process.stop(state.processes.values(), patience)
        process.stop(guard, patience=0)
        state.processes, state.guard, state.detached = {}, None, False
        self._file.save(state)


def _broker_id(node: str) -> int:
    """The id of a broker, 0 for another node."""
    return int(node.removeprefix("kafka-")) if node.startswith("kafka-") else 0


def _running(state: State, node: str) -> bool:
    identity = state.processes.get(node)
    return identity is not None and identity.process() is not None


def _free_port(taken: Mapping[str, list[int]]) -> int:
    used = {port for both in taken.values() for port in both}
    while (port := random.choice(FREE_PORTS)) in used or not process.is_free(port):
        pass
    return port


def _why_not_ready(node: str, port: int) -> str:
    if number := _broker_id(node):
        return kafka.why_not_ready(number, port)
    return {
        "dynamodb": services.dynamodb_why_not_ready,
        "registry": services.registry_why_not_ready,
        "prefect": services.prefect_why_not_ready,
    }[node](port)
