"""Partitions whose leaders are away: what can't be known is an error, not an answer that looks like "nothing there"."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from deployments.local.stack import Stack
from redrive.errors import UnavailableError
from redrive.health.lags import read_lags
from redrive.migrations.groups import Groups
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


def test_whoever_asks_about_groups_outlives_that_their_coordinator_goes_and_comes(fault_stack: Stack) -> None:
    """librdkafka ends the process if a client that has given a question up is there when a coordinator comes back."""
    client = {"bootstrap.servers": fault_stack.endpoints.bootstrap}
    topic, admin = f"t-{uuid.uuid4().hex[:8]}", AdminClient(client)
    admin.create_topics([NewTopic(topic, 1, 3)])[topic].result()
    names = [f"{topic}-{number}" for number in range(6)]
    for name in names:
        group = Consumer(client | {"group.id": name})
        group.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
        group.close()
    lags, groups = [ConsumerLag(client, name, [topic], 10) for name in names], Groups(client)
    cluster = SimpleNamespace(client_config=lambda: client)
    for lag in lags:
        assert lag.check() is None

    coordinator = coordinator_of(names[0], client)
    dead = sorted(fault_stack.brokers, key=lambda broker: broker.endswith(f"-{coordinator}"))[-2:]
    fault_stack.kill(*dead)
    given_up = []  # as whoever is to tell of them keeps them for a while, with all that their tracebacks hold
    with ThreadPoolExecutor(len(lags) + 2) as threads:
        asked = [threads.submit(lag.check) for lag in lags]
        asked += [threads.submit(groups.on, topic, names), threads.submit(read_lags, cluster, 10)]  # type: ignore[arg-type]
        for future in asked:
            given_up.append(future.exception())
    # Who asks for all groups is not told of some, and who asks for one of a dead broker's is told nothing.
    assert all(isinstance(given_up[asked], UnavailableError) for asked in (0, -2, -1)), given_up
    fault_stack.start(*dead)

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert [lag.check() for lag in lags] == [None] * len(lags)
            assert [group.name for group in groups.on(topic, names)] == names
            return
        except UnavailableError:
            time.sleep(0.5)
    pytest.fail("groups can't be asked about though all brokers are back")


def coordinator_of(group: str, client: dict[str, str]) -> int:
    """The broker that answers for a group."""
    admin = AdminClient(client)
    return int(admin.describe_consumer_groups([group], request_timeout=30)[group].result().coordinator.id)
