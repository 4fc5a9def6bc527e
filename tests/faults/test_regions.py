"""A domain in two regions: the active one dies, another becomes active, and nothing is lost or seen twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.standby_replay import Replay, standby_replay
from redrive.config import Config
from redrive.consumer import EventConsumer
from redrive.health.judging import judge
from redrive.health.looking import look
from redrive.producer import EventProducer
from redrive.pump.readback import end_offsets
from redrive.received import ReceivedEvent
from redrive.standby.drain import open_store
from redrive.standby.survey import survey
from redrive.topics import apply_topics
from tests.stack.backlog import ORDER, word
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)

Settings = Callable[..., Config]


@pytest.fixture
def settings(
    stack: Stack, fault_stack: Stack, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Orders in two regions: in the east on brokers that may be killed, in the west on others."""
    for name in stack.environment():
        if name.startswith("REDRIVE_"):
            monkeypatch.delenv(name, raising=False)
    (tmp_path / "order.avsc").write_text(json.dumps(ORDER))
    file = tmp_path / "redrive.toml"
    monkeypatch.setenv("REDRIVE_CONFIG", str(file))

    def write(active: str = "east", east: str = fault_stack.endpoints.bootstrap) -> Config:
        file.write_text(f"""\
[standby]
table = "{prefix}"
endpoint = "{stack.endpoints.dynamodb}"
[registry]
url = "{stack.endpoints.registry}"
[ledger]
url = "sqlite:///ledger.db"
[clusters.one]
bootstrap = "{east}"
[clusters.two]
bootstrap = "{stack.endpoints.bootstrap}"
[domains.orders]
regions = {{ east = "one", west = "two" }}
active = "{active}"
[topics."{prefix}"]
domain = "orders"
partitions = 2
schema = "order.avsc"
[topics."dlq.{prefix}"]
domain = "orders"
partitions = 1
""")
        return Config.load()

    config = write()
    open_store(config).create()
    assert {change.outcome for change in apply_topics(config)} <= {"done"}
    return write


@pytest.fixture(autouse=True)
def _prefect(stack: Stack) -> Iterator[None]:
    api = stack.endpoints.prefect_api
    with temporary_settings(updates={PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


class Kitchen:
    """A consumer that is started once and knows nothing of what happens: what it was handed, and from where."""

    def __init__(self, config: Config, prefix: str) -> None:
        self.seen: list[tuple[str, int | None]] = []
        self._consumer = EventConsumer(prefix, config, [prefix])
        self._thread = threading.Thread(target=self._consumer.run, args=(self._handle,), daemon=True)
        self._thread.start()

    def _handle(self, event: ReceivedEvent) -> None:
        self.seen.append((event.cluster, event.value and event.value["id"]))

    def ids(self, cluster: str | None = None) -> list[int]:
        return [id_ for where, id_ in self.seen if id_ is not None and cluster in (None, where)]

    def close(self) -> None:
        self._consumer.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._consumer.close()


@pytest.fixture
def kitchen(settings: Settings, prefix: str) -> Iterator[Kitchen]:
    kitchen = Kitchen(settings(), prefix)
    yield kitchen
    kitchen.close()


def publish(config: Config, topic: str, ids: range) -> Counter[str]:
    """Publish with a producer of its own, as one that is started with these settings; by which paths it went."""
    with EventProducer(topic, config, topics=[topic]) as producer:
        receipts = [producer.publish(topic, f"key-{id_ % 7}", {"id": id_}, event_id=f"order-{id_}") for id_ in ids]
        producer.flush()
        return Counter(receipt.result(0).path for receipt in receipts)


def replay(topic: str) -> str:
    state = standby_replay(
        Replay(mode="run", cluster="one", topics=[topic], settle=0, patience=60), return_state=True
    )  # fmt: skip
    return word(state)


def test_another_region_takes_over_and_what_waited_for_the_first_comes_back_there(
    fault_stack: Stack, settings: Settings, kitchen: Kitchen, prefix: str
) -> None:
    east = settings()
    assert publish(east, prefix, range(100)) == {"main": 100}
    wait_until(lambda: len(kitchen.ids()) == 100, 60)

    fault_stack.kill(*fault_stack.brokers)
    assert publish(east, prefix, range(100, 200)) == {"standby": 100}
    west = settings(active="west")
    assert publish(west, prefix, range(200, 300)) == {"main": 100}
    wait_until(lambda: len(kitchen.ids()) == 200, 60)  # the consumer was told nothing, and reads on in the west
    assert kitchen.ids("two") == kitchen.ids()[100:]
    assert sorted(kitchen.ids("two")) == list(range(200, 300))
    health = {each.facts.cluster: each for each in map(judge, look(west, ["one", "two"]))}
    assert health["one"].verdict == "unavailable"
    assert "nothing is published to it now" in health["one"].reasons[0].way_out

    fault_stack.start(*fault_stack.brokers)
    assert replay(prefix) == "proved"
    wait_until(lambda: len(kitchen.ids()) == 300, 60)
    assert Counter(kitchen.ids()) == Counter(range(300)), "each once"
    assert sorted(kitchen.ids("one")) == list(range(200)), "what was accepted for a cluster comes back there"
    assert all(lane.is_open for name in ("one", "two") for lane in survey(open_store(west), name))
    assert sum(end_offsets(west.cluster("two").client_config(), prefix)) == 100


def test_what_waits_for_a_cluster_that_is_lost_for_good_is_replayed_into_another(
    stack: Stack, fault_stack: Stack, settings: Settings, prefix: str
) -> None:
    config = settings()
    fault_stack.kill(*fault_stack.brokers)
    assert publish(config, prefix, range(50)) == {"standby": 50}

    config = settings(active="west", east=stack.endpoints.bootstrap)
    assert publish(config, prefix, range(50, 100)) == {"main": 50}
    assert replay(prefix) == "proved"
    kitchen = Kitchen(config, prefix)
    try:
        wait_until(lambda: len(kitchen.ids()) == 100, 60)
        assert Counter(kitchen.ids()) == Counter(range(100)), "each once"
    finally:
        kitchen.close()


def test_events_without_ids_at_the_same_place_of_two_clusters_are_no_duplicates(
    settings: Settings, kitchen: Kitchen, prefix: str
) -> None:
    config = settings()
    for name in ("one", "two"):
        producer = Producer(config.cluster(name).client_config())
        producer.produce(prefix, None, b"key", partition=0)
        assert producer.flush(30) == 0
    wait_until(lambda: sorted(kitchen.seen) == [("one", None), ("two", None)], 60)


def test_a_dead_letter_stays_on_the_cluster_of_its_event_whichever_is_away(
    fault_stack: Stack, settings: Settings, kitchen: Kitchen, prefix: str
) -> None:
    config = settings()
    letters = f"dlq.{prefix}"
    clients = {name: config.cluster(name).client_config() for name in ("one", "two")}

    def junk(cluster: str) -> None:
        producer = Producer(clients[cluster])
        producer.produce(prefix, b"junk", b"key", partition=0)
        assert producer.flush(30) == 0

    def committed(cluster: str) -> int:
        reader = Consumer({**clients[cluster], "group.id": prefix})
        (place,) = reader.committed([TopicPartition(prefix, 0)], timeout=10)
        reader.close()
        return max(0, place.offset)

    assert publish(config, prefix, range(20)) == {"main": 20}
    wait_until(lambda: len(kitchen.ids("one")) == 20, 60)
    fault_stack.kill(*fault_stack.brokers)  # the active one, in whose topic consumers used to bury all
    junk("two")
    wait_until(lambda: end_offsets(clients["two"], letters) == [1], 60)
    wait_until(lambda: committed("two") == 1, 60)
    assert publish(settings(active="west"), prefix, range(20, 40)) == {"main": 20}
    wait_until(lambda: len(kitchen.ids("two")) == 20, 60)

    fault_stack.start(*fault_stack.brokers)
    junk("one")
    wait_until(lambda: end_offsets(clients["one"], letters) == [1], 60)
    assert end_offsets(clients["two"], letters) == [1]
