"""The local stack: three Kafka brokers, DynamoDB Local, a schema registry and Prefect's server on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from deployments.local import jars, ports, process, view
from deployments.local.errors import NodeDiedError, NotReadyError, StackError
from deployments.local.kafka import CONTROLLERS, broker_id, new_cluster_id
from deployments.local.nodes import log_of, prepare, why_not_ready
from deployments.local.process import Identity, Launch
from deployments.local.security import Security
from deployments.local.state import PortChoice, State, StateFile
from deployments.local.view import Endpoints, NodeStatus
from redrive.errors import ConfigError

START_TIMEOUT = 120.0
# How long a node may take to stop in good order.
STOP_PATIENCE = 15.0


def _silent(_: str) -> None:
    """Report nothing."""


class Stack:
    """One stack, its data and logs in one folder.

    Nodes are ``kafka-1`` to ``kafka-3`` (and on, as brokers join), ``dynamodb``, ``registry`` and ``prefect``.
    As a context manager it runs inside the block. A stack that is not detached ends with the process that started
    it, even if that one is killed.

    Args:
        folder: for its data and logs.
        ports: how they are chosen, when nothing of it runs yet.
        prefect: with Prefect's server.
        only_prefect: with nothing else.

    Attributes:
        folder: the data and logs.
    """

    def __init__(
        self,
        folder: str | Path,
        ports: PortChoice = "default",
        *,
        prefect: bool = True,
        only_prefect: bool = False,
        secure: bool = False,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._choice: PortChoice = ports
        self._prefect, self._only_prefect, self._secure = prefect, only_prefect, secure
        self._file = StateFile(self.folder)

    @classmethod
    def attach(cls, folder: str | Path) -> Self:
        """A stack that another process has started.

        Raises:
            StackError: there is none in this folder.
        """
        stack = cls(folder)
        state = stack._state()
        stack._choice, stack._prefect, stack._secure = state.choice, "prefect" in state.ports, state.secure
        return stack

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
    def brokers(self) -> list[str]:
        """The names of the Kafka brokers."""
        return [node for node in self.nodes if broker_id(node)]

    @property
    def endpoints(self) -> Endpoints:
        """Where the nodes answer, whether they run or not."""
        return view.endpoints(self._state())

    def environment(self) -> dict[str, str]:
        """Variables that point Redrive (its cluster ``local``), Prefect and AWS's libraries at this stack."""
        return view.environment(self._state(), self.folder)

    @property
    def is_secure(self) -> bool:
        """Whether Kafka asks who comes."""
        return self._state().secure

    @property
    def security(self) -> Security:
        """Its certificates and users, if it is secure."""
        return Security(self.folder)

    def runs(self) -> bool:
        """Whether any node runs."""
        state = self._file.load()
        return state is not None and state.runs()

    def status(self) -> list[NodeStatus]:
        """How each node is."""
        state = self._state()
        return [view.status(node, state, self.folder) for node in state.ports]

    # Start and stop

    def up(self, *, detached: bool = False, owner: int | None = None, report: Callable[[str], None] = _silent) -> None:
        """Start every node that does not run and wait until all serve.

        Args:
            detached: let the stack outlive its owner, from when it serves.
            owner: the process with whose end the stack ends; this one by default.
            report: called with a line when a node serves.

        Raises:
            StackError: a stack that is not detached runs here already.
            DownloadError, CertificateError, ChecksumError, DiskFullError: a program could not be fetched.
            PortTakenError: a port is not free.
            NodeDiedError, NotReadyError: a node did not come up. Then everything is stopped again.
        """
        programs = None if self._only_prefect else jars.ensure()
        with self._file.exclusively():
            state = self._file.load() or State(secure=self._secure)
            if state.secure != self._secure:
                way_out = "start it with --secure" if state.secure else "it can't become secure"
                raise StackError(f"the stack in {self.folder} is another: {way_out}, or delete its data: down --wipe")
            if not state.runs():
                state = self._fresh(state)
            elif not (detached and state.detached):
                raise StackError(f"a local stack runs in {self.folder}; stop it with `redrive local down`")
            try:
                if not state.detached:
                    state.guard = self._start_guard(Identity.of(owner or os.getpid()))
                missing = self._launch(state.ports, state, programs)
            except BaseException:
                self._stop(state, patience=0)
                raise
        try:
            self.wait_ready(missing, report=report)
        except BaseException:
            self.down()
            raise
        if detached:
            self.detach()

    def down(self, *, wipe: bool = False) -> None:
        """Stop every node.

        Args:
            wipe: delete the data as well; then nobody waits for an orderly stop.
        """
        with self._file.exclusively():
            if state := self._file.load():
                self._stop(state, patience=0 if wipe else STOP_PATIENCE)
        if wipe:
            shutil.rmtree(self.folder, ignore_errors=True)

    def detach(self) -> None:
        """Let a running stack outlive this process."""
        with self._file.exclusively():
            state = self._state()
            process.stop([state.guard] if state.guard else [], patience=0)
            state.detached, state.guard = True, None
            self._file.save(state)

    # Single nodes

    def kill(self, *nodes: str) -> None:
        """End nodes by SIGKILL, all at once; returns when their processes are gone.

        Raises:
            StackError: one of them does not run.
        """
        process.stop(self._identities(nodes), patience=0)

    def start(self, *nodes: str, wait: bool = True) -> None:
        """Start those of the nodes that do not run.

        Args:
            nodes: their names.
            wait: until they serve; not for brokers as long as the cluster cannot serve, with fewer than two of the
                first three running.

        Raises:
            PortTakenError, NodeDiedError, NotReadyError: as for ``up``.
        """
        programs = jars.ensure()
        with self._file.exclusively():
            state = self._state()
            self._launch(nodes, state, programs)
        if wait:
            quorum = sum(state.runs(f"kafka-{number}") for number in CONTROLLERS) > len(CONTROLLERS) // 2
            self.wait_ready([node for node in nodes if quorum or not broker_id(node)])

    def pause(self, *nodes: str) -> None:
        """Freeze nodes by SIGSTOP; returns when they stand still."""
        for identity in self._identities(nodes):
            process.freeze(identity)

    def resume(self, *nodes: str) -> None:
        """Let frozen nodes go on."""
        for identity in self._identities(nodes):
            identity.send(signal.SIGCONT)

    def add_broker(self) -> str:
        """Join one more broker to the cluster and wait until it serves; its name."""
        with self._file.exclusively():
            state = self._state()
            node = f"kafka-{1 + max(map(broker_id, state.ports))}"
            state.ports |= ports.choose(state.choice, [node])
            self._file.save(state)
        self.start(node)
        return node

    def add_brokers(self, until: int) -> list[str]:
        """Join brokers until there are so many, start those that do not run, and wait; the names of the new ones."""
        with self._file.exclusively():
            state = self._state()
            brokers = [number for number in map(broker_id, state.ports) if number]
            new = [f"kafka-{max(brokers) + 1 + more}" for more in range(until - len(brokers))]
            state.ports |= ports.choose(state.choice, new)
            self._file.save(state)
        self.start(*self.brokers)
        return new

    def load(self, seconds: float = 1.0) -> dict[int, float]:
        """Measure each running broker's CPU for so long: broker id → percent of all that the machine has."""
        state = self._state()
        found = {node: identity.process() for node, identity in state.processes.items() if broker_id(node)}
        running = {broker_id(node): each for node, each in found.items() if each is not None}
        before = {id_: process.cpu_seconds(each) for id_, each in running.items()}
        began = time.monotonic()
        time.sleep(seconds)
        capacity = (time.monotonic() - began) * (os.cpu_count() or 1)
        after = {id_: process.cpu_seconds(each) for id_, each in running.items()}
        return {
            id_: round(100 * (then - now) / capacity, 1)
            for id_ in sorted(running)
            if (now := before[id_]) is not None and (then := after[id_]) is not None
        }

    def wait_ready(
        self, nodes: Iterable[str], timeout: float = START_TIMEOUT, report: Callable[[str], None] = _silent
    ) -> None:
        """Wait until nodes serve.

        Args:
            nodes: which ones.
            timeout: seconds.
            report: called with a line when a node serves.

        Raises:
            NodeDiedError: one of them ended.
            NotReadyError: one of them does not serve in time.
        """
        state = self._state()
        started = time.monotonic()
        waiting = list(nodes)
        while waiting:
            for node in list(waiting):
                log = log_of(self.folder, node)
                if not state.runs(node):
                    how = process.how_it_ended(state.processes[node]) if node in state.processes else "does not run"
                    raise NodeDiedError(node, how, log, process.tail(log))
                reason = why_not_ready(node, self.folder, state)
                seconds = time.monotonic() - started
                if not reason:
                    waiting.remove(node)
                    report(f"{node} serves on port {state.ports[node][0]} after {seconds:.1f} s")
                elif seconds > timeout:
                    raise NotReadyError(node, timeout, reason, log, process.tail(log))
            if waiting:
                time.sleep(0.2)

    # Inside

    def _state(self) -> State:
        state = self._file.load()
        if state is None:
            raise StackError(f"there is no local stack in {self.folder}; start one with `redrive local up`")
        return state

    def _fresh(self, before: State) -> State:
        """The state of a stack of which nothing runs; brokers that joined earlier belong to it."""
        brokers = sorted({*CONTROLLERS, *filter(None, map(broker_id, before.ports))})
        platform = [] if self._only_prefect else [*(f"kafka-{n}" for n in brokers), "dynamodb", "registry"]
        names = [*platform, *(["prefect"] if self._prefect else [])]
        cluster_id = before.cluster_id or new_cluster_id()
        chosen = ports.choose(self._choice, names)
        return State(self._choice, ports=chosen, cluster_id=cluster_id, secure=self._secure)

    def _known(self, nodes: Iterable[str], state: State) -> None:
        for node in nodes:
            if node not in state.ports:
                raise ConfigError("node", f"there is no {node}; there are {', '.join(state.ports)}")

    def _identities(self, nodes: Sequence[str]) -> list[Identity]:
        state = self._state()
        self._known(nodes, state)
        for node in nodes:
            if not state.runs(node):
                raise StackError(f"{node} does not run; start it with `redrive local start {node}`")
        return [state.processes[node] for node in nodes]

    def _start_guard(self, owner: Identity) -> Identity:
        # Found from any working folder.
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        argv = [sys.executable, "-m", "deployments.local.guard", str(self.folder), str(owner.pid), str(owner.created)]
        return process.spawn(Launch(argv, {"PYTHONPATH": path}), log_of(self.folder, "guard"))

    def _launch(self, nodes: Iterable[str], state: State, programs: jars.Programs | None) -> list[str]:
        """Start those of the nodes that do not run, noting each in the state at once; their names."""
        self._known(nodes, state)
        # Brokers last: those of a fresh stack are formatted first, which goes on while the others start.
        missing = sorted((node for node in nodes if not state.runs(node)), key=broker_id)
        for node in missing:
            for port in state.ports[node]:
                ports.require_free(node, port)
        with ThreadPoolExecutor(len(CONTROLLERS)) as pool:
            launches = [pool.submit(prepare, node, self.folder, state, programs) for node in missing]
            for node, launch in zip(missing, launches, strict=True):
                state.processes[node] = process.spawn(launch.result(), log_of(self.folder, node), self.folder)
                self._file.save(state)
        return missing

    def _stop(self, state: State, patience: float) -> None:
        process.stop(state.processes.values(), patience)
        process.stop([state.guard] if state.guard else [], patience=0)
        state.processes, state.guard, state.detached = {}, None, False
        self._file.save(state)
