"""How far a reader reads ahead of who takes what it reads: so much memory it takes, however long the topic is."""

from __future__ import annotations

import json
import time

from confluent_kafka import TopicPartition

from redrive.pump.readback import AHEAD, AT_ONCE, reader
from tests.unit.mock_kafka import MockKafka

EVENT = 50_000


def test_a_reader_reads_ahead_so_much_and_one_answer_of_a_broker(mock_kafka: MockKafka) -> None:
    for _ in range(90):
        mock_kafka.produce("orders", b"k", bytes(EVENT))
    ahead: list[int] = []

    def hear(statistics: str) -> None:
        for partition in json.loads(statistics)["topics"].get("orders", {}).get("partitions", {}).values():
            ahead.append(partition["fetchq_size"])

    config = {"bootstrap.servers": mock_kafka.bootstrap, "statistics.interval.ms": 50, "stats_cb": hear}
    consumer = reader(config)
    try:
        consumer.assign([TopicPartition("orders", 0, 0)])
        assert len(consumer.consume(1, 10)) == 1
        began = time.monotonic()
        while time.monotonic() < began + 2:
            consumer.poll(0)  # hears statistics; whatever it gives makes room
            time.sleep(0.5)
        assert AHEAD / 2 < max(ahead) < AHEAD + AT_ONCE + EVENT
        assert len(consumer.consume(80, 10)) == 80, "it does not go on once there is room"
    finally:
        consumer.close()
