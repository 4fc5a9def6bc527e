"""Two domains on two clusters, one producer and one consumer for both: what an outage of one does to the other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from redrive.config import Config
from redrive.errors import UnavailableError
from redrive.health.judging import judge
from redrive.health.lags import read_lags
from redrive.health.looking import look
from redrive.producer import EventProducer
from redrive.receipts import Receipt
from redrive.received import ReceivedEvent
from redrive.standby.drain import open_store
from redrive.topics import apply_topics
from tests.faults.handlers import Handler
from tests.stack.backlog import ORDER
from tests.stack.environment import forget_settings
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(400)
ORDERS, MENUS = "orders", "menus"


@pytest.fixture
def config(stack: Stack, fault_stack: Stack, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Orders on brokers that may be killed, menus on others; they share the registry and the standby table."""
    forget_settings(stack, monkeypatch)
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER))
    topics = "".join(
        f'[topics."{prefix}-{domain}"]\ndomain = "{domain}"\npartitions = 2\nschema = "order.avsc"\n'
        for domain in (ORDERS, MENUS)
    )
    file = tmp_path / "redrive.toml"
    file.write_text(f"""\
[standby]
table = "{prefix}"
endpoint = "{stack.endpoints.dynamodb}"
[registry]
url = "{stack.endpoints.registry}"
[ledger]
url = "sqlite:///ledger.db"
[clusters.east]
bootstrap = "{fault_stack.endpoints.bootstrap}"
[clusters.west]
bootstrap = "{stack.endpoints.bootstrap}"
[domains.orders]
cluster = "east"
[domains.menus]
cluster = "west"
{topics}[topics."dlq.{prefix}"]
domain = "menus"
partitions = 1
""")
    config = Config.load(file)
    open_store(config).create()
    assert {change.outcome for change in apply_topics(config)} <= {"done"}
    return config


class Kitchen(Handler):
    """A consumer of both topics, in one loop: when each event was handled, by its topic and number."""

    def __init__(self, config: Config, group: str, topics: list[str]) -> None:
        self.handled: dict[tuple[str, int], float] = {}
        super().__init__(config, group, topics)

    def _handle(self, event: ReceivedEvent) -> None:
        self.handled.setdefault((event.topic, event.value["id"]), time.monotonic())


@pytest.fixture
def kitchen(config: Config, prefix: str) -> Iterator[Kitchen]:
    kitchen = Kitchen(config, prefix, [f"{prefix}-{ORDERS}", f"{prefix}-{MENUS}"])
    yield kitchen
    kitchen.close()


def test_the_outage_of_one_cluster_leaves_the_other_one_s_events_alone(
    fault_stack: Stack, config: Config, prefix: str, kitchen: Kitchen
) -> None:
    orders, menus = f"{prefix}-{ORDERS}", f"{prefix}-{MENUS}"
    published: dict[tuple[str, int], tuple[float, Receipt]] = {}
    with EventProducer(prefix, config, topics=[orders, menus]) as producer:

        def publish(first: int, number: int) -> None:
            for id_ in range(first, first + number):
                for topic in (orders, menus):
                    receipt = producer.publish(topic, f"key-{id_ % 10}", {"id": id_})
                    published[topic, id_] = (time.monotonic(), receipt)
                time.sleep(0.02)

        publish(0, 100)
        wait_until(lambda: len(kitchen.handled) == 200, 60)
        fault_stack.kill(*fault_stack.brokers)
        publish(100, 1000)
        producer.flush()
        wait_until(lambda: sum(topic == menus for topic, _ in kitchen.handled) == 1100, 60)

    paths = {topic: {receipt.result(0).path for (name, _), (_, receipt) in published.items() if name == topic}
             for topic in (orders, menus)}  # fmt: skip
    assert paths == {orders: {"main", "standby"}, menus: {"main"}}
    waits = sorted(kitchen.handled[menus, id_] - published[menus, id_][0] for id_ in range(100, 1100))
    print(f"menus during the outage of orders: median {waits[500]:.2f} s, longest {waits[-1]:.2f} s")
    assert waits[-1] < 15  # far less than that outage
    health = {each.facts.cluster: each.verdict for each in map(judge, look(config, ["east", "west"]))}
    assert health["east"] == "unavailable"
    assert health["west"] != "unavailable"

    def behind(cluster: str) -> int | None:
        try:
            lags = {lag.group: lag.events for lag in read_lags(config.cluster(cluster), 10).groups}
        except UnavailableError:  # as long as new leaders have not caught up
            return None
        return lags.get(prefix)

    wait_until(lambda: behind("west") == 0)  # what is handled gets committed there meanwhile
    fault_stack.start(*fault_stack.brokers)
    wait_until(lambda: behind("east") == 0, 120)  # and here when it is back, without anybody's doing
