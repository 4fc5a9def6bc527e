"""`Probe`: how long a producer waits for its acknowledgement, measured as a producer would.

Brokers tell their produce latency by JMX only, or to a monitoring of the cluster's owner, not to a client. So small
events are published to `PROBE_TOPIC`, whose partitions are spread over brokers as any topic's are, and acknowledged
by all replicas in sync (``acks=all``). What other producers wait for, with their batches and lingering, is more than
that; but it grows for the same reasons. A broker that leads no partition of the topic is not seen.

The rate is the same however long answers take, and what waits counts with the time that it has waited so far: a
stall is not one slow event among many quick ones from before and after.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from math import ceil, log
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from redrive.pump.own_topics import ensure
from redrive.pump.readback import ClientConfig

PROBE_TOPIC = "redrive.probe"
PARTITIONS = 12
"""Up to so many brokers have one to lead, once leaders are spread."""

EVERY = 0.2
"""Seconds between two events to a partition."""
WINDOW = 10.0
"""Seconds that the present latency is taken over."""
WARM_UP = 1.0
"""Seconds from the beginning in which what comes is not taken in: connections are being made."""
TIMEOUT = 30.0
"""Seconds after which an event that is not acknowledged is given up."""

_CONFIG = {"retention.ms": "3600000", "segment.ms": "3600000", "segment.bytes": str(16 << 20)}
_REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
}
_GROWTH = 1.05  # of one bucket to the next: figures are within 5 %

_log = logging.getLogger("redrive.kafka")


def ensure_probe(client_config: ClientConfig) -> None:
    """Create the topic if there is none.

    Raises:
        ConfigError: it may not be created.
        UnavailableError: the cluster does not answer.
    """
    ensure(client_config, PROBE_TOPIC, PARTITIONS, _CONFIG, "probe")


class Latencies:
    """Latencies of a time that may be long, in little memory.

    Attributes:
        events: how many there are.
    """

    def __init__(self) -> None:
        self.events = 0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Take one in."""
        self.events += 1
        self._buckets[ceil(log(max(seconds, 1e-6), _GROWTH))] += 1

    def p99(self) -> float | None:
        """Give what 99 of 100 did not take longer than, in seconds, up to 5 % too much; None without any."""
        wanted = ceil(0.99 * self.events)
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return float(_GROWTH**bucket)
        return None


class Probe:
    """Measures as long as it is open.

    Args:
        client_config: the cluster.
        partitions: of the topic.

    Attributes:
        phase: gets all latencies, from when it is set.
        refused: why the cluster takes none of the events; empty if it does.
    """

    def __init__(self, client_config: ClientConfig, partitions: int) -> None:
        self.phase = Latencies()
        self.refused = ""
        self._partitions = partitions
        self._begun = 0.0
        self._leaders: dict[int, int] = {}
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float, int]] = deque()  # when it came, what it took, its partition
        self._waiting: dict[int, tuple[float, int]] = {}  # number of an event → when it was sent, its partition
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        own = {"acks": "all", "linger.ms": 0, "message.timeout.ms": int(1000 * TIMEOUT), "client.id": "redrive-probe"}
        self._producer = Producer({**client_config, **own}, logger=_log)

    def __enter__(self) -> Self:
        self._look_up_leaders()
        self._begun = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_about: object) -> None:
        self._stop.set()
        self._thread.join()
        now = time.monotonic()
        with self._lock:  # what still waits has waited so long at least
            unanswered, self._begun = list(self._waiting.values()), float("inf")
        for sent, _ in unanswered if not self.refused else ():
            self.phase.add(now - sent)
        self._producer.purge()
        self._producer.flush(0)  # hears of what was purged; else the client would be kept by what waits to be told

    def recent_p99(self) -> float:
        """Give what 99 of 100 of the last events took, in seconds; of those without an answer, what it is by now."""
        took = sorted(seconds for seconds, _ in self._seen())
        return took[ceil(0.99 * len(took)) - 1] if took else 0.0

    def slowest(self) -> str:
        """Say which broker, as far as it is known, leads the partition with the slowest of the last events."""
        _, partition = max(self._seen(), default=(0.0, 0))
        self._look_up_leaders()
        leader = self._leaders.get(partition, -1)
        return f"broker {leader}" if leader >= 0 else f"{PROBE_TOPIC}/{partition}"

    def _look_up_leaders(self) -> None:
        with suppress(KafkaException, KeyError):  # whoever is asked may be the one that stalls
            topic = self._producer.list_topics(PROBE_TOPIC, timeout=1.0).topics[PROBE_TOPIC]
            self._leaders = {number: each.leader for number, each in topic.partitions.items()}

    def _seen(self) -> list[tuple[float, int]]:
        now = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0][0] < now - WINDOW:
                self._recent.popleft()
            answered = [(seconds, partition) for _, seconds, partition in self._recent]
            return answered + [(now - sent, partition) for sent, partition in self._waiting.values()]

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            due = time.monotonic() + EVERY
            for partition in range(self._partitions):
                number += 1
                self._send(number, partition)
            while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                self._producer.poll(left)
            self._producer.poll(0)

    def _send(self, number: int, partition: int) -> None:
        with self._lock:
            self._waiting[number] = (time.monotonic(), partition)
        try:
            self._producer.produce(
                PROBE_TOPIC, b"", partition=partition, on_delivery=lambda error, one: self._came(number, error, one)
            )
        except (KafkaException, BufferError) as error:
            with self._lock:
                sent, _ = self._waiting.pop(number)
                # The client tells so at once what a broker has told it before.
                if not (isinstance(error, KafkaException) and self._is_refused(error.args[0])):
                    self._recent.append((sent, TIMEOUT, partition))  # as if it had been given up

    def _came(self, number: int, error: KafkaError | None, message: Message) -> None:
        now = time.monotonic()
        with self._lock:
            sent, partition = self._waiting.pop(number)
            if error is None:
                self.refused = ""
            elif self._is_refused(error):
                return
            if now - self._begun < WARM_UP:
                return
            # Of what was acknowledged the client knows it better: it need not wait for this thread.
            seconds = now - sent if error is not None else message.latency() or now - sent
            self._recent.append((now, seconds, partition))
            self.phase.add(seconds)

    def _is_refused(self, error: KafkaError) -> bool:
        if error.code() in _REFUSED:
            ways = "`redrive topics apply` makes it, `redrive security acls partition-rebalance` has the rights"
            self.refused = f"{PROBE_TOPIC}: {error.str()} ({ways})"
        return error.code() in _REFUSED
