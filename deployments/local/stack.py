"""The local stack: Kafka, DynamoDB Local, a schema registry and Prefect's server on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from deployments.local import jars, ports, process, view
from deployments.local.brokers import CONTROLLERS, Broker, broker_of, brokers, checked, first_nodes, new_cluster_id
from deployments.local.errors import NodeDiedError, NotReadyError, StackError
from deployments.local.nodes import log_of, prepare, why_not_ready
from deployments.local.process import Identity, Launch
from deployments.local.security import Security
from deployments.local.state import PortChoice, State, StateFile
from deployments.local.view import Endpoints, NodeStatus
from redrive.errors import ConfigError

START_TIMEOUT = 120.0
"""Seconds that a node may take until it serves."""

STOP_PATIENCE = 15.0
"""Seconds that a node may take to stop in good order."""


def _silent(_: str) -> None:
    """Report nothing."""


class Stack:
    """One stack, its data and logs in one folder.

    Nodes are ``kafka-1`` to ``kafka-3`` (and on, as brokers join), ``dynamodb``, ``registry`` and ``prefect``; and
    ``kafka-menu-1``, the only broker, for each further cluster such as ``menu``.
    As a context manager it runs inside the block. A stack that is not detached ends with the process that started
    it, even if that one is killed.

    Args:
        folder: for its data and logs.
        ports: how they are chosen, when nothing of it runs yet.
        prefect: with Prefect's server.
        only_prefect: with nothing else.
        clusters: its Kafka clusters by their names in Redrive's settings; None: those that its data are of, or
            ``local``.

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
        clusters: Sequence[str] | None = None,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._clusters = None if clusters is None else checked(clusters)
        self._choice: PortChoice = ports
        self._prefect, self._only_prefect, self._secure = prefect, only_prefect, secure
        self._file = StateFile(self.folder)

    @classmethod
    def attach(cls, folder: str | Path, clusters: Sequence[str] | None = None) -> Self:
        """A stack that another process has started; with these clusters, if they are given.

        Raises:
            StackError: there is none in this folder, or it has others.
        """
        stack = cls(folder)
        state = stack._state()
        stack._choice, stack._prefect, stack._secure = state.choice, "prefect" in state.ports, state.secure
        if clusters is not None:
            stack._require(checked(clusters), state)
        return stack

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._state().detached:
            self.down()

    # What is known

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return list(self._state().ports)

    @property
    def brokers(self) -> list[str]:
        """The names of the Kafka brokers, of all clusters."""
        return [node for node in self.nodes if broker_of(node)]

    def brokers_of(self, cluster: str) -> list[str]:
        """The names of a cluster's brokers.

        Raises:
            ConfigError: there is no such cluster.
        """
        clusters = self._state().clusters
        if cluster not in clusters:
            raise ConfigError("cluster", f"there is no {cluster}; there are {', '.join(clusters)}")
        return [each.node for each in brokers(self.nodes, cluster if clusters.index(cluster) else "")]

    @property
    def endpoints(self) -> Endpoints:
        """Where the nodes answer, whether they run or not."""
        return view.endpoints(self._state())

    def environment(self) -> dict[str, str]:
        """Variables that point Redrive (its clusters), Prefect and AWS's libraries at this stack."""
        return view.environment(self._state(), self.folder)

    @property
    def is_secure(self) -> bool:
        """Whether Kafka asks who comes."""
        return self._state().secure

    @property
    def security(self) -> Security:
        """Its certificates and users, if it is secure."""
        return Security(self.folder)

    def add_user(self, name: str) -> None:
        """Have each cluster of a secure stack know a user, with one new password; see `Security.add_user`."""
        self.security.add_user(self.endpoints.clusters.values(), name)

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
            if self._clusters is not None:
                if any(map(broker_of, state.ports)):
                    self._require(self._clusters, state)
                state.clusters = self._clusters
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
            quorum = sum(state.runs(Broker("", number).node) for number in CONTROLLERS) > len(CONTROLLERS) // 2
            waits = {broker.node for broker in brokers(nodes) if not quorum}
            self.wait_ready([node for node in nodes if node not in waits])

    def pause(self, *nodes: str) -> None:
        """Freeze nodes by SIGSTOP; returns when they stand still."""
        for identity in self._identities(nodes):
            process.freeze(identity)

    def resume(self, *nodes: str) -> None:
        """Let frozen nodes go on."""
        for identity in self._identities(nodes):
            identity.send(signal.SIGCONT)

    def add_broker(self) -> str:
        """Join one more broker to the first cluster and wait until it serves; its name."""
        (node,) = self._join()
        self.start(node)
        return node

    def add_brokers(self, until: int) -> list[str]:
        """Join brokers to the first cluster until it has so many, start those of it that do not run, and wait.

        Returns:
            the names of the new ones.
        """
        new = self._join(until)
        self.start(*(broker.node for broker in brokers(self.nodes)))
        return new

    def load(self, seconds: float = 1.0) -> dict[int, float]:
        """Measure CPU of the first cluster's brokers for so long: broker id → percent of all that the machine has."""
        state = self._state()
        found = {each.number: state.processes[each.node].process() for each in brokers(state.processes)}
        running = {id_: each for id_, each in found.items() if each is not None}
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

    def wait_ready(self, nodes: Iterable[str], report: Callable[[str], None] = _silent) -> None:
        """Wait until nodes serve.

        Args:
            nodes: which ones.
            report: called with a line when a node serves.

        Raises:
            NodeDiedError: one of them ended.
            NotReadyError: one of them does not serve within `START_TIMEOUT`.
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
                elif seconds > START_TIMEOUT:
                    raise NotReadyError(node, START_TIMEOUT, reason, log, process.tail(log))
            if waiting:
                time.sleep(0.2)

    # Inside

    def _join(self, until: int | None = None) -> list[str]:
        """Have brokers belong to the first cluster until it has so many, or one more; the names of the new ones."""
        with self._file.exclusively():
            state = self._state()
            known = [broker.number for broker in brokers(state.ports)]
            more = 1 if until is None else until - len(known)
            new = [Broker("", max(known) + each).node for each in range(1, more + 1)]
            state.ports |= ports.choose(state.choice, new, self.folder, state.clusters)
            self._file.save(state)
        return new

    def _require(self, clusters: list[str], state: State) -> None:
        if state.clusters != clusters:
            way_out = f"start it with --clusters {','.join(state.clusters)}, or delete its data: down --wipe"
            raise StackError(f"the stack in {self.folder} has other clusters: {way_out}")

    def _state(self) -> State:
        state = self._file.load()
        if state is None:
            raise StackError(f"there is no local stack in {self.folder}; start one with `redrive local up`")
        return state

    def _fresh(self, before: State) -> State:
        """The state of a stack of which nothing runs; brokers that joined earlier belong to it."""
        joined = [node for node in before.ports if broker_of(node)]
        nodes = dict.fromkeys([*first_nodes(before.clusters), *joined])
        platform = [] if self._only_prefect else [*nodes, "dynamodb", "registry"]
        names = [*platform, *(["prefect"] if self._prefect else [])]
        cluster_id = before.cluster_id or new_cluster_id()
        chosen = ports.choose(self._choice, names, self.folder, before.clusters)
        return State(self._choice, ports=chosen, cluster_id=cluster_id, secure=self._secure, clusters=before.clusters)

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
        missing = sorted((node for node in nodes if not state.runs(node)), key=lambda node: broker_of(node) is not None)
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
