"""`redrive up --clusters` and `redrive local up --clusters`: several Kafka clusters, by one command each."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from prefect.client.orchestration import SyncPrefectClient
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.local.errors import StackError
from deployments.local.stack import Stack
from redrive.config import Config
from redrive.producer import EventProducer
from tests.stack.backlog import ORDER
from tests.stack.up_command import Up

pytestmark = pytest.mark.timeout(600)
CLUSTERS = ["--clusters", "orders,menu", "--ports", "free"]
OF_CLUSTER = {"orders": "orders.created", "menu": "dishes.changed"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER))
    file = tmp_path / "redrive.toml"
    file.write_text(
        '[registry]\nurl = "http://127.0.0.1:1"\n'
        + "".join(
            f'[clusters.{cluster}]\nbootstrap = "127.0.0.1:1"\n[domains.{cluster}]\ncluster = "{cluster}"\n'
            f'[topics."{topic}"]\ndomain = "{cluster}"\npartitions = 1\nreplication = 1\nschema = "order.avsc"\n'
            for cluster, topic in OF_CLUSTER.items()
        )
        + '[topics."dlq.shop"]\ndomain = "menu"\npartitions = 1\nreplication = 1\n'
    )
    return file


@pytest.fixture
def up(file: Path, tmp_path: Path) -> Iterator[Up]:
    up = Up(file, tmp_path / "data", *CLUSTERS)
    try:
        yield up
    finally:
        up.clean_up()


def test_two_clusters_are_brought_up_with_jobs_for_both_and_again_with_their_data(
    up: Up, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up.wait_for(lambda: "their worker runs" in up.said)
    assert "Kafka orders" in up.said
    assert "Kafka menu" in up.said
    stack = Stack.attach(up.data)
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)

    with EventProducer("shop", Config.load(file), topics=list(OF_CLUSTER.values())) as producer:
        receipts = [producer.publish(topic, "key", {"id": 1}) for topic in OF_CLUSTER.values()]
        assert [receipt.result(60).path for receipt in receipts] == ["main", "main"]
    assert {name: ours(stack, name) for name in OF_CLUSTER} == {name: {topic} for name, topic in OF_CLUSTER.items()}
    with SyncPrefectClient(stack.environment()["PREFECT_API_URL"]) as prefect:
        health = prefect.read_deployment_by_name("cluster-health/cluster-health")
        run = prefect.create_flow_run_from_deployment(health.id, parameters={"look": {"clusters": ["menu", "orders"]}})
        up.wait_for(lambda: bool((state := prefect.read_flow_run(run.id).state) and state.is_completed()))
        state = prefect.read_flow_run(run.id).state
    assert state is not None
    assert "menu is well: 1 of 1 broker," in str(state.message)
    assert "orders is well: 3 of 3 brokers," in str(state.message)

    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 0, up.said
    assert not stack.runs(), "what it has started, it has stopped"

    data = ["--data", str(up.data)]
    with pytest.raises(StackError, match="has other clusters: start it with --clusters orders,menu"):
        local("up", "--clusters", "menu,orders", *data)
    shown = json.loads(local("up", *CLUSTERS, *data, "--no-prefect", "--json").stdout)
    assert set(shown["endpoints"]["clusters"]) == {"orders", "menu"}
    assert "REDRIVE_CLUSTERS__MENU__BOOTSTRAP" in shown["environment"]
    assert local("status", *data).exit_code == 0
    assert {name: events(stack, name) for name in OF_CLUSTER} == {"orders": 1, "menu": 1}

    second = Up(file, up.data, *CLUSTERS)
    assert second.process.wait(120) == 2
    assert "runs a stack without Prefect; stop it with `redrive local down`, or name" in " ".join(second.said.split())
    assert stack.runs(), "which is not its own"


def local(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["local", *arguments], catch_exceptions=False)


def ours(stack: Stack, cluster: str) -> set[str]:
    """The topics of the settings that a cluster has."""
    admin = AdminClient({"bootstrap.servers": stack.endpoints.clusters[cluster]})
    return set(admin.list_topics(timeout=10).topics) & set(OF_CLUSTER.values())


def events(stack: Stack, cluster: str) -> int:
    """How many events a cluster's topic has."""
    bootstrap = stack.endpoints.clusters[cluster]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "counts", "isolation.level": "read_committed"})
    first, end = consumer.get_watermark_offsets(TopicPartition(OF_CLUSTER[cluster], 0), timeout=30)
    consumer.close()
    return int(end - first)
