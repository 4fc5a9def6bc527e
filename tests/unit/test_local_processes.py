"""The local stack's processes: found again, told from others, stopped for sure; and what it says when it cannot."""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.local import jars, ports
from deployments.local.brokers import Broker, broker_of, cluster_id, first_nodes, new_cluster_id
from deployments.local.errors import DiskFullError, PortTakenError, StackError, on_disk_errors
from deployments.local.process import Identity, Launch, how_it_ended, spawn, stop, tail
from deployments.local.stack import Stack
from deployments.local.state import State, StateFile
from deployments.local.view import environment
from redrive.errors import ConfigError

CLUSTERS = ["orders", "menu", "7"]
SLEEP = Launch([sys.executable, "-c", "import time; time.sleep(60)"], {})
STUBBORN = Launch(
    [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)",
    ],
    {},
)


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stubborn = spawn(STUBBORN, log)
    while "on" not in tail(log):
        time.sleep(0.01)
    stop([stubborn], patience=0.2)
    assert stubborn.process() is None
    assert how_it_ended(stubborn) == "was ended by SIGKILL"


@pytest.mark.parametrize(
    ("code", "said"),
    [("import sys; sys.exit(3)", "ended with exit code 3"), ("import os; os.abort()", "was ended by SIGABRT")],
)
def test_a_process_that_ended_says_how(code: str, said: str, tmp_path: Path) -> None:
    identity = spawn(Launch([sys.executable, "-c", code], {}), tmp_path / "log")
    while identity.process():
        time.sleep(0.01)
    assert how_it_ended(identity) == said


def test_a_killed_process_has_left_its_port_when_it_counts_as_ended(tmp_path: Path) -> None:
    """Its first thread may be gone before the others that keep the port."""
    code = """
import ctypes, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=time.sleep, args=[60]).start()
print("port", server.getsockname()[1], flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
    log = tmp_path / "log"
    server = spawn(Launch([sys.executable, "-c", code], {}), log)
    while len(tail(log).split()) < 2:
        time.sleep(0.01)
    port = int(tail(log).split()[1])
    time.sleep(0.3)
    assert server.process()
    stop([server], patience=0)
    assert server.process() is None
    assert ports.is_free(port)


def test_a_frozen_process_can_be_stopped(tmp_path: Path) -> None:
    frozen = spawn(SLEEP, tmp_path / "log")
    frozen.send(signal.SIGSTOP)
    started = time.monotonic()
    stop([frozen], patience=60)
    assert frozen.process() is None
    assert time.monotonic() - started < 30


def test_a_later_process_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    ours = spawn(SLEEP, tmp_path / "log")
    earlier = Identity(ours.pid, ours.created - 3600)
    assert earlier.process() is None
    stop([earlier], patience=0)
    assert ours.process()
    stop([ours], patience=0)


def test_a_log_ends_with_what_is_telling(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\n\nException: no room\n\tat a.b.C(D.java:1)\n\tat e.f.G(H.java:2)\n\t... 4 more\n")
    assert tail(log) == "starting | Exception: no room"
    assert tail(tmp_path / "none") == "(nothing)"


def test_a_taken_port_is_said_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"registry needs port {port}, which process \d+ \(.*\) holds"):
            ports.require_free("registry", port)


def test_default_ports_are_the_well_known_ones(tmp_path: Path) -> None:
    assert ports.choose("default", ["kafka-1", "kafka-4", "registry"], tmp_path) == {
        "kafka-1": [29092, 29191],
        "kafka-4": [29095],
        "registry": [28081],
    }


def test_each_cluster_has_ports_of_its_own(tmp_path: Path) -> None:
    nodes = [*first_nodes(CLUSTERS), "kafka-4", "dynamodb"]
    for choice in ("default", "free"):
        chosen = ports.choose(choice, nodes, tmp_path, CLUSTERS)
        all_of_them = [port for both in chosen.values() for port in both]
        assert len(set(all_of_them)) == len(all_of_them) == 2 * 5 + 2, chosen
    assert ports.choose("default", nodes, tmp_path, CLUSTERS)["kafka-menu-1"] == [29292, 29391]


def test_no_stack_is_given_a_port_that_another_one_has_chosen_until_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its broker may be dead for now, and nobody listen there."""
    monkeypatch.setattr(ports, "CLAIMS", tmp_path / "claims")
    monkeypatch.setattr(ports, "FREE", range(20000, 20020))
    one, other = tmp_path / "one", tmp_path / "other"
    brokers = [f"kafka-{number}" for number in range(10, 17)]
    chosen = ports.choose("free", brokers, one)
    one.mkdir()
    StateFile(one).save(State("free", ports=chosen))
    taken = {port for both in chosen.values() for port in both}

    def next_one() -> set[int]:
        return {port for both in ports.choose("free", brokers, other).values() for port in both}

    assert not next_one() & taken
    monkeypatch.setattr(ports, "_YOUNG", 0.0)
    assert not next_one() & taken
    (one / "stack.json").unlink()
    assert {port for _ in range(100) for port in next_one()} & taken


def test_brokers_are_told_by_the_names_of_their_nodes() -> None:
    assert first_nodes(CLUSTERS) == ["kafka-1", "kafka-2", "kafka-3", "kafka-menu-1", "kafka-7-1"]
    assert [broker_of(node) for node in ("kafka-4", "kafka-menu-1", "kafka-7-1", "registry")] == [
        Broker("", 4), Broker("menu", 1), Broker("7", 1), None,
    ]  # fmt: skip
    assert all(broker.node == node for node in first_nodes(CLUSTERS) if (broker := broker_of(node)))


def test_clusters_of_one_stack_have_ids_of_their_own_that_stay() -> None:
    first = new_cluster_id()
    ids = [cluster_id(first, further) for further in ("", "menu", "7")]
    assert ids[0] == first
    assert len(set(ids)) == 3
    assert [len(each) for each in ids] == [22] * 3
    assert ids == [cluster_id(first, further) for further in ("", "menu", "7")]


@pytest.mark.parametrize("names", [["orders", "orders"], ["Orders"], ["my-orders"], [""], []])
def test_names_that_can_be_no_clusters_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--clusters"):
        Stack(tmp_path, clusters=names)


def test_clusters_of_a_stack_that_is_not_wanted_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["up", "--no-local", "--clusters", "orders,menu", "--data", str(tmp_path / "data")]
    )
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "data").exists()


def test_a_stack_written_before_there_were_several_clusters_has_the_cluster_local(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"ports": {"kafka-1": [29092, 29191]}, "cluster_id": "x"}')
    assert Stack.attach(tmp_path).endpoints.clusters == {"local": "127.0.0.1:29092"}
    with pytest.raises(StackError, match="start it with --clusters local, or delete its data"):
        Stack.attach(tmp_path, ["orders", "menu"])


def test_free_ports_differ(tmp_path: Path) -> None:
    chosen = ports.choose("free", ["kafka-1", "kafka-2", "kafka-3", "dynamodb", "registry", "prefect"], tmp_path)
    all_of_them = [port for both in chosen.values() for port in both]
    assert len(set(all_of_them)) == len(all_of_them) == 9


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_left_becomes_one_clear_line(number: int, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="make room"), on_disk_errors(tmp_path):
        raise OSError(number, "no space")


def test_other_errors_of_the_disk_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), on_disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "no")


def test_the_state_reads_back_as_written(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    assert file.load() is None
    state = State("free", ports={"kafka-1": [1, 2]}, processes={"kafka-1": Identity(3, 4.5)}, cluster_id="x")
    file.save(state)
    assert file.load() == state


def test_a_stack_dies_with_its_owner_even_by_kill_9(tmp_path: Path) -> None:
    """The guard sees the end of a process that could not clean up, and ends what it had started."""
    node = spawn(SLEEP, tmp_path / "log", tmp_path)
    not_noted_yet = spawn(SLEEP, tmp_path / "log", tmp_path)
    StateFile(tmp_path).save(State(processes={"dynamodb": node}))
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    created = psutil.Process(owner.pid).create_time()
    guard = [sys.executable, "-m", "deployments.local.guard", str(tmp_path), str(owner.pid), str(created)]
    with subprocess.Popen(guard) as watching:
        time.sleep(0.5)
        assert node.process()
        owner.kill()
        owner.wait()
        assert watching.wait(timeout=20) == 0
    assert node.process() is None
    assert not_noted_yet.process() is None
    after = StateFile(tmp_path).load()
    assert after is not None
    assert after.processes == {}


@pytest.mark.parametrize(("was", "wanted"), [(True, False), (False, True)])
def test_a_stack_does_not_change_whether_it_asks_who_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: bool, wanted: bool
) -> None:
    monkeypatch.setattr(jars, "ensure", lambda: None)
    StateFile(tmp_path).save(State(cluster_id="x", secure=was))
    with pytest.raises(StackError, match="--secure" if was else "can't become secure"):
        Stack(tmp_path, secure=wanted).up()


def test_commands_that_a_job_calls_are_about_the_stack_that_it_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those of `[clusters.local.fleet]`, beside a stack in another folder than the usual one."""
    ports_of_all = {"kafka-1": [1, 2], "dynamodb": [3], "registry": [4], "prefect": [5]}
    for name, value in environment(State(ports=ports_of_all), tmp_path).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match=f"there is no local stack in {tmp_path};"):
        CliRunner().invoke(app, ["local", "add-broker"], catch_exceptions=False)
    assert "REDRIVE_LOCAL_DATA" not in environment(State(ports={"prefect": [5]}), tmp_path), "that has no brokers"
