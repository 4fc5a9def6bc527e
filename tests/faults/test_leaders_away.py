"""Partitions whose leaders are away: what can't be known is an error, not an answer that looks like "nothing there"."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from deployments.local.stack import Stack
from redrive.errors import UnavailableError
from redrive.pump.cursors import CURSORS_TOPIC, cursor_partition, read_cursor
from redrive.pump.lag import ConsumerLag
from redrive.pump.readback import offsets_for_time
from redrive.pump.sink import TransactionalSink

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def headless(fault_stack: Stack) -> Iterator[tuple[Stack, str, str]]:
    """A stack without a quorum, a topic and a unit with a cursor, both led by a broker that is dead."""
    client = {"bootstrap.servers": fault_stack.endpoints.bootstrap}
    topic, admin = f"t-{uuid.uuid4().hex[:8]}", AdminClient(client)
    admin.create_topics([NewTopic(topic, 3, 3)])[topic].result()
    dead, alive = fault_stack.brokers[:2], fault_stack.brokers[2]
    alive_id = int(alive.rpartition("-")[2])
    unit = ""
    while not unit:
        name = f"test/{uuid.uuid4().hex[:8]}"
        sink = TransactionalSink(client, name)
        sink.start()
        sink.commit([], b"the cursor")
        sink.close()
        leaders = admin.list_topics(CURSORS_TOPIC, timeout=10).topics[CURSORS_TOPIC].partitions
        if leaders[cursor_partition(name)].leader != alive_id:
            unit = name
    group = Consumer(client | {"group.id": topic})
    group.commit(offsets=[TopicPartition(topic, partition, 0) for partition in range(3)], asynchronous=False)
    group.close()
    del admin  # a client of librdkafka that meets brokers as they come back has ended the process now and then
    fault_stack.kill(*dead)
    yield fault_stack, topic, unit
    fault_stack.start(*dead)
    assert read_cursor(client, unit) == b"the cursor"


def test_no_cursor_end_or_lag_is_made_up(headless: tuple[Stack, str, str]) -> None:
    """A cursor that can't be read is not a unit that never ran: taken for one, it would publish everything again."""
    stack, topic, unit = headless
    client = {"bootstrap.servers": stack.endpoints.bootstrap}
    with pytest.raises(UnavailableError):
        read_cursor(client, unit, patience=5)
    with pytest.raises(UnavailableError):
        offsets_for_time(client, topic, 0)  # which asks for the ends, too
    with pytest.raises(UnavailableError):
        ConsumerLag(client, topic, [topic], 10).check()
