"""The loop closes by itself: a cluster dies while producers publish, and is healed with nobody touching anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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
from deployments.worker import ROOT
from redrive.config import Config
from redrive.ledger import Ledger, OperationRow
from redrive.producer import EventProducer
from redrive.receipts import Receipt
from redrive.standby.drain import open_store
from tests.stack.backlog import ORDER, Backlogs

pytestmark = pytest.mark.timeout(600)

Found = TypeVar("Found")
BROKERS = ["kafka-1", "kafka-2", "kafka-3"]
KEYS = 20


class Town(Backlogs):
    """A platform on the stack that `redrive up` has started."""

    cluster = "local"
    up: subprocess.Popen[str]

    def __init__(self, folder: Path) -> None:
        self.topics, self.file, self.folder = ["orders"], folder / "redrive.toml", folder
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        self.file.write_text(
            '[standby]\ntable = "standby"\n[registry]\nurl = "http://127.0.0.1:1"\n'
            '[clusters.local]\nbootstrap = "127.0.0.1:1"\n[domains.sales]\ncluster = "local"\n'
            '[topics.orders]\ndomain = "sales"\npartitions = 3\nlanes = 2\nschema = "order.avsc"\n'
            '[topics."dlq.shop"]\ndomain = "sales"\npartitions = 1\n'
        )
        self.data = folder / "stack"

    def command(self) -> subprocess.Popen[str]:
        """Call `redrive up`, as in a shell of one's own."""
        ours = ("REDRIVE_", "PREFECT_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        program = [sys.executable, "-c", "from deployments.cli import main; main()"]
        return subprocess.Popen(
            [*program, "up", "--data", str(self.data), "--ports", "free"],
            env={**environment, "PYTHONPATH": str(ROOT)}, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def attach(self, patch: pytest.MonkeyPatch) -> None:
        self.stack = Stack.attach(self.data)
        for name, value in self.stack.environment().items():
            patch.setenv(name, value)
        self.config = Config.load(self.file)
        self.store = open_store(self.config)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    town = Town(tmp_path)
    up = town.command()
    try:
        lines = ""
        assert up.stdout is not None
        while "their worker runs" not in lines:
            line = up.stdout.readline()
            assert line, f"redrive up has ended: {lines}"
            lines += line
        town.attach(monkeypatch)
        town.up = up
        with temporary_settings(updates={PREFECT_API_URL: town.stack.endpoints.prefect_api}):
            yield town
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=90)
        Stack(town.data).down(wipe=True)


class Shop(threading.Thread):
    """A producer that publishes fifty events a second, whatever happens."""

    def __init__(self, config: Config, topic: str) -> None:
        super().__init__(daemon=True)
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
            if receipt.done:
                return receipt.result(0).path
        return None

    def close(self) -> None:
        self._closed.set()
        if self.ident is not None:
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


@pytest.fixture
def shop(town: Town) -> Iterator[Shop]:
    shop = Shop(town.config, *town.topics)
    yield shop
    shop.close()


def test_a_cluster_dies_and_everything_is_healed_with_nobody_touching_it(town: Town, shop: Shop) -> None:
    (topic,) = town.topics
    with Ledger.open(town.config.ledger_url()) as ledger, get_client(sync_client=True) as prefect:
        look_often(prefect)

        def is_seen_as(*verdicts: str) -> bool:
            last = ledger.looks.last("local")
            return last is not None and last.verdict in verdicts

        def replay() -> OperationRow | None:
            ended = [row for row in ledger.operations(job="standby-replay") if row.status != "running"]
            return next((row for row in ended if row.verdict == "proved"), None)

        wait_for(lambda: is_seen_as("well", "unwell"), 120, "look at the cluster")
        shop.start()
        wait_for(lambda: shop.last_path() == "main", 30, "event in Kafka")
        town.stack.kill(*BROKERS)
        killed = time.monotonic()
        wait_for(lambda: is_seen_as("unavailable"), 90, "look that finds it gone")
        seen = time.monotonic()
        wait_for(lambda: shop.last_path() == "standby", 30, "event in the standby store")
        town.stack.start(*BROKERS)
        back = time.monotonic()

        row = wait_for(replay, 180, "proved replay")
        wait_for(lambda: shop.last_path() == "main", 60, "event in Kafka after the replay")
        healed = time.monotonic()
        shop.close()
        # Had a lane been diverted once more meanwhile, that would be for the next look to find.
        wait_for(lambda: town.are_open(topic), 120, "open lane, of all of them")

    assert row.who.startswith("automation"), row.who
    assert row.counts is not None
    assert row.counts["published"] > 0
    paths = {receipt.result(0).path for _, _, receipt in shop.receipts}
    assert paths == {"main", "standby"}
    expected: dict[bytes, list[str]] = {}
    for event_id, key, _ in shop.receipts:
        expected.setdefault(key, []).append(event_id)
    assert town.ids_by_key(topic) == expected, "each once, in the order of its key"
    print(
        f"found gone after {seen - killed:.0f} s; healed {healed - back:.0f} s after the brokers were back; "
        f"{row.counts['published']} events replayed, {os.getloadavg()[0]:.0f} processes wanted a core"
    )

    again = town.command()
    said, _ = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert "It runs already" in said
    assert town.stack.endpoints.prefect_ui in said
    town.up.send_signal(signal.SIGINT)
    town.up.communicate(timeout=90)
    assert not town.stack.runs(), "Ctrl-C stops what it has started"
