"""What it costs brokers that somebody waits at the end of a partition."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from redrive.columnar.librdkafka import usable
from redrive.pump.following import ASKED_AGAIN, follow
from tests.unit.mock_kafka import MockKafka


class Counted:
    """A client's settings, with which it counts the fetch requests that it sends."""

    def __init__(self, bootstrap: str) -> None:
        self.fetches = 0
        self.config = {"bootstrap.servers": bootstrap, "statistics.interval.ms": 50, "stats_cb": self._hear}

    def _hear(self, statistics: str) -> None:
        brokers: Mapping[str, Mapping[str, Mapping[str, int]]] = json.loads(statistics)["brokers"]
        self.fetches = sum(broker["req"].get("Fetch", 0) for broker in brokers.values())


def test_a_broker_is_not_asked_all_the_time_whether_there_is_more(mock_kafka: MockKafka) -> None:
    mock_kafka.produce("orders", b"k", b"v")
    usable()  # may have its loops to compile
    counted, began = Counted(mock_kafka.bootstrap), time.monotonic()
    pieces = follow(counted.config, "orders", 0, 0, lambda: None if time.monotonic() < began + 3 else 0)
    assert [message.value() for piece in pieces for message in piece.messages] == [b"v"]
    assert 0 < counted.fetches <= 3 + (time.monotonic() - began) / ASKED_AGAIN
