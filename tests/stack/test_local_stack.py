"""The local stack itself: it survives the loss of any one broker, keeps its data, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from typer.testing import CliRunner

from deployments.cli import app
from deployments.local import ports
from deployments.local.errors import NodeDiedError, PortTakenError, StackError
from deployments.local.stack import Stack

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path / "stack", "free", prefect=False)
    try:
        yield stack
    finally:
        stack.down(wipe=True)


def processes_of(folder: Path) -> list[psutil.Process]:
    """The processes whose command names the folder: every node and the guard do."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder) in word for word in process.info["cmdline"] or []):
            found.append(process)
    return found


def make_topic(stack: Stack, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.endpoints.bootstrap})
    admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=3)])[name].result()


def publish(stack: Stack, topic: str, count: int) -> int:
    """How many events were acknowledged by all in-sync replicas."""
    acknowledged = 0

    def delivered(error: object, _: object) -> None:
        nonlocal acknowledged
        acknowledged += error is None

    producer = Producer({"bootstrap.servers": stack.endpoints.bootstrap, "acks": "all", "log_level": 0})
    for number in range(count):
        producer.produce(topic, b"x", key=str(number), on_delivery=delivered)
    producer.flush(60)
    return acknowledged


def subjects(stack: Stack) -> list[str]:
    with urllib.request.urlopen(f"{stack.endpoints.registry}/subjects") as response:
        return list(json.load(response))


def test_the_shared_stack_serves(stack: Stack) -> None:
    assert [node.state for node in stack.status()] == ["running"] * 6
    assert len(stack.endpoints.bootstrap.split(",")) == 3
    with urllib.request.urlopen(f"{stack.endpoints.prefect_api}/health") as response:
        assert response.status == 200


def test_it_works_on_with_one_broker_killed_and_keeps_everything(own_stack: Stack) -> None:
    """Up, publish, kill -9 one node, publish, start it, down, up: all is there; down leaves no process."""
    own_stack.up()
    make_topic(own_stack, "lasting")
    assert publish(own_stack, "lasting", 100) == 100
    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=own_stack.endpoints.dynamodb,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    dynamodb.create_table(
        TableName="lasting",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    schema = urllib.request.Request(
        f"{own_stack.endpoints.registry}/subjects/lasting-value/versions",
        json.dumps({"schema": '"string"'}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    urllib.request.urlopen(schema).close()

    own_stack.kill("kafka-2", "registry")
    assert {node.node for node in own_stack.status() if node.state == "dead"} == {"kafka-2", "registry"}
    assert publish(own_stack, "lasting", 100) == 100
    with pytest.raises(StackError, match="kafka-2 does not run"):
        own_stack.kill("kafka-2")
    own_stack.start("kafka-2", "registry")
    assert subjects(own_stack) == ["lasting-value"]

    own_stack.down()
    assert processes_of(own_stack.folder) == []
    own_stack.up()
    metadata = AdminClient({"bootstrap.servers": own_stack.endpoints.bootstrap}).list_topics(timeout=10)
    assert set(metadata.brokers) == {1, 2, 3}
    assert "lasting" in metadata.topics
    assert publish(own_stack, "lasting", 100) == 100
    assert subjects(own_stack) == ["lasting-value"]
    own_stack.down(wipe=True)
    assert processes_of(own_stack.folder) == []
    assert not own_stack.folder.exists()


def test_all_brokers_can_be_killed_at_once_and_started_again(fault_stack: Stack, prefix: str) -> None:
    make_topic(fault_stack, prefix)
    fault_stack.kill(*fault_stack.brokers)
    # One alone cannot serve; it waits for the others.
    fault_stack.start("kafka-3")
    fault_stack.start("kafka-1", "kafka-2")
    assert publish(fault_stack, prefix, 100) == 100


def test_a_frozen_broker_is_passed_over(fault_stack: Stack, prefix: str) -> None:
    make_topic(fault_stack, prefix)
    fault_stack.pause("kafka-1")
    assert [node.state for node in fault_stack.status() if node.node == "kafka-1"] == ["paused"]
    assert publish(fault_stack, prefix, 100) == 100
    fault_stack.resume("kafka-1")


def test_brokers_join_until_there_are_so_many_and_tell_their_load(fault_stack: Stack) -> None:
    data = ["--data", str(fault_stack.folder)]
    for _ in range(2):  # asking again adds none
        result = CliRunner().invoke(app, ["local", "add-broker", "--until", "4", *data], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert fault_stack.brokers == ["kafka-1", "kafka-2", "kafka-3", "kafka-4"]
    metadata = AdminClient({"bootstrap.servers": fault_stack.endpoints.bootstrap}).list_topics(timeout=10)
    assert set(metadata.brokers) == {1, 2, 3, 4}
    fault_stack.kill("kafka-4")
    told = CliRunner().invoke(app, ["local", "load", "--json", *data], catch_exceptions=False)
    load = json.loads(told.stdout)
    assert set(load) == {"1", "2", "3"}
    assert all(0 <= percent <= 100 for percent in load.values())
    assert sum(load.values()) > 0


def test_several_clusters_are_apart_and_each_is_in_the_settings(tmp_path: Path) -> None:
    """Three brokers for the first, one for each other; what happens to one is nothing to the others."""
    with Stack(tmp_path, "free", prefect=False, clusters=["orders", "menu"]) as stack:
        assert stack.brokers_of("orders") == ["kafka-1", "kafka-2", "kafka-3"]
        assert stack.brokers_of("menu") == ["kafka-menu-1"]
        given = {
            name: stack.environment()[f"REDRIVE_CLUSTERS__{name.upper()}__BOOTSTRAP"] for name in ("orders", "menu")
        }
        clients = {name: AdminClient({"bootstrap.servers": where, "log_level": 0}) for name, where in given.items()}
        found = {name: client.list_topics(timeout=10) for name, client in clients.items()}
        assert {name: sorted(each.brokers) for name, each in found.items()} == {"orders": [1, 2, 3], "menu": [1]}
        assert len({each.cluster_id for each in found.values()}) == 2

        stack.kill(*stack.brokers_of("orders"))
        wanted = [NewTopic("dishes", num_partitions=3, replication_factor=1)]
        clients["menu"].create_topics(wanted)["dishes"].result()
        with pytest.raises(StackError, match="a local stack runs"):
            Stack(tmp_path, clusters=["orders", "menu"]).up()
    with pytest.raises(StackError, match="has other clusters: start it with --clusters orders,menu"):
        Stack(tmp_path, "free", clusters=["menu"]).up()
    again = Stack(tmp_path, "free", prefect=False)  # without names: those that its data are of
    with again:
        client = AdminClient({"bootstrap.servers": again.endpoints.clusters["menu"]})
        assert "dishes" in client.list_topics(timeout=10).topics


def test_a_node_that_dies_at_its_start_says_why(own_stack: Stack) -> None:
    foreign = own_stack.folder / "kafka-1" / "log" / "meta.properties"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(NodeDiedError, match=r"kafka-1 ended with exit code 1; its log .*kafka-1\.log ends with: .*7"):
        own_stack.up()
    assert processes_of(own_stack.folder) == []


def test_a_taken_port_stops_the_start_and_nothing_runs(
    own_stack: Stack, monkeypatch: pytest.MonkeyPatch, stack: Stack
) -> None:
    taken = {node.node: node.port for node in stack.status()}["registry"]
    nodes = ["kafka-1", "kafka-2", "kafka-3", "dynamodb"]
    chosen = ports.choose("free", nodes, own_stack.folder) | {"registry": [taken]}
    monkeypatch.setattr(ports, "choose", lambda *_: chosen)
    with pytest.raises(PortTakenError, match=rf"registry needs port {taken}"):
        own_stack.up()
    assert processes_of(own_stack.folder) == []


def test_nothing_outlives_a_killed_owner(tmp_path: Path) -> None:
    program = f"""
import time
from deployments.local.stack import Stack
Stack({str(tmp_path)!r}, "free", prefect=False).up()
"""
    owner = subprocess.Popen([sys.executable, "-c", program + "time.sleep(600)"])
    state = tmp_path / "stack.json"
    # In the midst of the start, when some nodes run and others do not yet.
    while not (state.exists() and len(Stack.attach(tmp_path).status()) and _running(tmp_path)):
        assert owner.poll() is None
        time.sleep(0.05)
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 120
    while processes_of(tmp_path):
        assert time.monotonic() < deadline, processes_of(tmp_path)
        time.sleep(0.1)


def _running(folder: Path) -> int:
    return sum(node.state == "running" for node in Stack.attach(folder).status())


def test_the_commands(tmp_path: Path) -> None:
    """A detached stack outlives the command that started it, and others find it."""

    def redrive(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from deployments.cli import main; main()", "local", *words]
        return subprocess.run([*command, "--data", str(tmp_path)], capture_output=True, text=True, env=os.environ)

    assert redrive("status").returncode == 1
    up = redrive("up", "--json", "--ports", "free", "--no-prefect")
    try:
        assert up.returncode == 0, up.stderr
        told = json.loads(up.stdout)
        assert told["environment"]["REDRIVE_STANDBY__ENDPOINT"] == told["endpoints"]["dynamodb"]
        env = subprocess.run(
            ["/bin/sh", "-c", 'eval "$0"; env', redrive("env").stdout], capture_output=True, text=True, env={}
        ).stdout.splitlines()
        assert {f"{name}={value}" for name, value in told["environment"].items()} <= set(env)
        assert redrive("kill", "registry").returncode == 0
        status = redrive("status", "--json")
        assert status.returncode == 1
        assert {node["node"]: node["state"] for node in json.loads(status.stdout)}["registry"] == "dead"
        assert redrive("start", "registry").returncode == 0
        assert redrive("status").returncode == 0
        assert redrive("kill", "nothing").returncode == 2
    finally:
        down = redrive("down", "--wipe")
    assert down.returncode == 0
    assert processes_of(tmp_path) == []
