"""The loop closes by itself: a cluster dies while producers publish, and is healed with nobody touching anything."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.local.stack import Stack
from deployments.worker import start_worker
from redrive.config import Config
from redrive.ledger import Ledger, OperationRow
from redrive.producer import EventProducer
from redrive.receipts import Receipt
from tests.stack.backlog import Backlogs

pytestmark = pytest.mark.timeout(600)

Found = TypeVar("Found")
BROKERS = ["kafka-1", "kafka-2", "kafka-3"]
KEYS = 20


@pytest.fixture(scope="module")
def town() -> Iterator[Stack]:
    """A stack with a Prefect server of its own: its brokers are killed, and its jobs are nobody else's."""
    stack = Stack(Path(tempfile.mkdtemp(prefix="redrive-loop-")), "free")
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


@pytest.fixture
def platform(town: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backlogs]:
    platform = Backlogs(town, tmp_path, "orders")
    text = platform.file.read_text()
    letters = '[topics."dlq.shop"]\ndomain = "sales"\npartitions = 1\n'
    platform.file.write_text(text + letters)
    environment = town.environment() | platform.environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    platform.create()
    with (
        start_worker(environment, tmp_path / "worker.log"),
        temporary_settings(updates={PREFECT_API_URL: environment["PREFECT_API_URL"]}),
    ):
        yield platform


class Shop(threading.Thread):
    """A producer that publishes fifty events a second, whatever happens."""

    def __init__(self, config: Config, topic: str) -> None:
        super().__init__()
        self._config, self._topic, self._closed = config, topic, threading.Event()
        self.receipts: list[tuple[str, bytes, Receipt]] = []

    def run(self) -> None:
        with EventProducer("shop", self._config, topics=[self._topic]) as producer:
            while not self._closed.wait(0.02):
                number = len(self.receipts)
                key, event_id = f"key-{number % KEYS}", f"order-{number}"
                receipt = producer.publish(self._topic, key, {"id": number}, event_id=event_id)
                self.receipts.append((event_id, key.encode(), receipt))
            producer.flush()

    def last_path(self) -> str | None:
        """Where the latest event went that is acknowledged."""
        for _, _, receipt in reversed(self.receipts[-200:]):
            if receipt.done():
                return receipt.result(0).path
        return None

    def close(self) -> None:
        self._closed.set()
        self.join(120)
        assert not self.is_alive()


def look_often(prefect: SyncPrefectClient) -> None:
    """Have clusters looked at every ten seconds instead of each minute, and nothing replayed by the clock."""
    health = prefect.read_deployment_by_name("cluster-health/cluster-health")
    (schedule,) = health.schedules
    prefect.update_deployment_schedule(
        health.id, schedule.id, schedule=IntervalSchedule(interval=timedelta(seconds=10))
    )
    replay = prefect.read_deployment_by_name("standby-replay/standby-replay")
    for each in replay.schedules:
        prefect.update_deployment_schedule(replay.id, each.id, active=False)


def wait_for(look: Callable[[], Found | None], seconds: float, what: str) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s there is still no {what}"
        time.sleep(0.3)
    return found


def test_a_cluster_dies_and_everything_is_healed_with_nobody_touching_it(town: Stack, platform: Backlogs) -> None:
    (topic,) = platform.topics
    shop = Shop(platform.config, topic)
    with Ledger.open(platform.config.ledger_url()) as ledger, get_client(sync_client=True) as prefect:
        look_often(prefect)

        def is_seen_as(*verdicts: str) -> bool:
            last = ledger.looks.last("main")
            return last is not None and last.verdict in verdicts

        def replay() -> OperationRow | None:
            ended = [row for row in ledger.operations(job="standby-replay") if row.status != "running"]
            return next((row for row in ended if row.verdict == "proved"), None)

        wait_for(lambda: is_seen_as("well", "unwell"), 120, "look at the cluster")
        shop.start()
        wait_for(lambda: shop.last_path() == "main", 30, "event in Kafka")
        town.kill(*BROKERS)
        killed = time.monotonic()
        wait_for(lambda: is_seen_as("unavailable"), 90, "look that finds it gone")
        seen = time.monotonic()
        wait_for(lambda: shop.last_path() == "standby", 30, "event in the standby store")
        town.start(*BROKERS)
        back = time.monotonic()

        row = wait_for(replay, 180, "proved replay")
        wait_for(lambda: shop.last_path() == "main", 60, "event in Kafka after the replay")
        healed = time.monotonic()
        shop.close()
        # Had a lane been diverted once more meanwhile, that would be for the next look to find.
        wait_for(lambda: platform.are_open(topic), 120, "open lane, of all of them")

    assert row.who.startswith("automation"), row.who
    assert row.counts is not None
    assert row.counts["published"] > 0
    paths = {receipt.result(0).path for _, _, receipt in shop.receipts}
    assert paths == {"main", "standby"}
    expected: dict[bytes, list[str]] = {}
    for event_id, key, _ in shop.receipts:
        expected.setdefault(key, []).append(event_id)
    assert platform.ids_by_key(topic) == expected, "each once, in the order of its key"
    print(
        f"found gone after {seen - killed:.0f} s; healed {healed - back:.0f} s after the brokers were back; "
        f"{row.counts['published']} events replayed, {os.getloadavg()[0]:.0f} processes wanted a core"
    )
