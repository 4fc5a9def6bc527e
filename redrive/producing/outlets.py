"""Where a producer's events go: for each cluster one that sends or stores them, with the threads for it."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from redrive.aliases import Destinations
from redrive.avro.schema import AvroSchema
from redrive.config import Config
from redrive.dispatch.dispatcher import Dispatcher
from redrive.dispatch.mainpath import KafkaMainPath
from redrive.dispatch.rights import WriteRights
from redrive.dispatch.settings import DispatchSettings
from redrive.receipts import Receipt
from redrive.standby.dynamo import DynamoStore
from redrive.standby.writer import SystemClock

log = logging.getLogger(__name__)

STORE_THREADS = 8
"""Batches that are stored at once."""
WATCH_THREADS = 2
"""Looks at the gate and at Kafka at once, for each cluster; apart from those others, which may all wait for a table."""
MAX_EVENT_BYTES = 1_000_000
"""The largest event if its topic sets no ``max.message.bytes`` (Kafka's own default, with room for its framing)."""


class Outlet(NamedTuple):
    """Where events of a topic go.

    Attributes:
        dispatcher: sends or stores them.
        rights: which topics of that cluster may be written.
        limit: bytes that an event may have.
        is_compacted: whether each event needs a key.
    """

    dispatcher: Dispatcher
    rights: WriteRights
    limit: int
    is_compacted: bool


class Outlets:
    """The outlets of one producer, by topic, once they are opened. Thread-safe.

    Args:
        name: the producer's.
        instance: this one of that name, unique.
        config: the platform.
        settings: deadlines and limits.
        schema: gives a schema by its id.
        known: gives the schemas that events of a topic are encoded with here, by id.
        on_refused: gets the receipt of an event that Kafka refuses for good.

    Attributes:
        changed: notified when receipts end.
    """

    def __init__(
        self,
        name: str,
        instance: str,
        config: Config,
        settings: DispatchSettings,
        *,
        schema: Callable[[int], AvroSchema],
        known: Callable[[str], Mapping[int, AvroSchema]],
        on_refused: Callable[[Receipt], None],
    ) -> None:
        self._name, self._instance, self._config, self._settings = name, instance, config, settings
        self._schema, self._known, self._on_refused = schema, known, on_refused
        self.changed = threading.Condition()
        self._clock = SystemClock()
        self._store = DynamoStore(config.standby.table, config.standby.region, config.standby.endpoint)
        self._pools = [ThreadPoolExecutor(STORE_THREADS, thread_name_prefix=f"{name}-standby")]
        self._of_cluster: dict[str, tuple[Dispatcher, WriteRights]] = {}
        self._of_topic: dict[str, Outlet] = {}
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._closing = threading.Event()

    def __getitem__(self, topic: str) -> Outlet:
        return self._of_topic[topic]

    def open(self, topics: Iterable[str]) -> None:
        """Have outlets for these topics; each cluster is asked once which of them may be written.

        Raises:
            ConfigError: a topic is not in the settings.
        """
        asked: dict[WriteRights, list[str]] = defaultdict(list)
        for topic in topics:
            given = self._config.topic(topic)
            with self._starting:
                dispatcher, rights = self._of_cluster.get(given.cluster) or self._start(given.cluster)
            is_compacted = "compact" in given.config.get("cleanup.policy", "")
            self._of_topic[topic] = Outlet(dispatcher, rights, _limit(given.config), is_compacted)
            asked[rights].append(topic)
        for rights, names in asked.items():
            rights.learn(names)

    def _start(self, cluster: str) -> tuple[Dispatcher, WriteRights]:
        """Start what sends to a cluster."""
        limits = [_limit(topic.config) for topic in self._config.topics_of(cluster)]
        client = self._config.cluster(cluster).client_config()
        watch = ThreadPoolExecutor(WATCH_THREADS, thread_name_prefix=f"{self._name}-{cluster}-watch")
        self._pools.append(watch)
        rights = WriteRights(client, watch.submit)
        dispatcher = Dispatcher(
            cluster,
            KafkaMainPath(
                client, max_event_bytes=max(limits), max_batch_bytes=min(limits), on_forbidden=rights.ask_again
            ),
            self._store,
            producer=self._instance,
            lanes=lambda name: self._config.topic(name).lanes,
            run=self._pools[0].submit,
            look=watch.submit,
            clock=self._clock,
            changed=self.changed,
            settings=self._settings,
            on_refused=self._on_refused,
            destinations=Destinations(client, cluster, self._schema, self._known, watch, rights=rights),
        )
        self._of_cluster[cluster] = dispatcher, rights
        name = f"{self._name}-{cluster}"
        thread = threading.Thread(target=self._work, args=(dispatcher,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return dispatcher, rights

    def _work(self, dispatcher: Dispatcher) -> None:
        while not self._closing.is_set():
            try:
                dispatcher.tick(0.02)
            except Exception:
                log.exception("the producer %s goes on after an unexpected error", self._name)
                self._closing.wait(0.5)

    @property
    def dispatchers(self) -> list[Dispatcher]:
        """Give what sends or stores events, one a cluster."""
        return [dispatcher for dispatcher, _ in list(self._of_cluster.values())]

    @property
    def are_closed(self) -> bool:
        """Tell whether nothing is taken any more."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let go of everything; what is not acknowledged yet fails."""
        self._closing.set()
        for thread in self._threads:
            thread.join(10)
        for dispatcher in self.dispatchers:
            dispatcher.abandon(f"the producer {self._name} was closed before it was acknowledged")
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)


def _limit(config: Mapping[str, str]) -> int:
    return int(config.get("max.message.bytes", MAX_EVENT_BYTES))
