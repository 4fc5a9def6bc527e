"""The job `standby-replay` on a real backlog, as a flow run on a real Prefect server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from confluent_kafka import Consumer, TopicPartition
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.follow import artifacts_of
from deployments.local.stack import Stack
from flows.standby_replay import Replay, standby_replay
from redrive.envelope import headers
from redrive.errors import UnavailableError
from redrive.ledger import Ledger, OperationRow
from redrive.murmur2 import partition_of
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored
from redrive.standby.drain import drain
from redrive.standby.lanes import Lane
from tasks.ending import plan_key, report_key
from tasks.pace import Pace, running, set_pace, variable_name
from tasks.protection import Protect
from tests.stack.backlog import Backlogs, by_key, word

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def platform(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backlogs]:
    """A platform with two topics, on which flows run in this process."""
    platform = Backlogs(stack, tmp_path, "orders", "refunds")
    for name, value in platform.environment.items():
        monkeypatch.setenv(name, value)
    platform.create()
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield platform


def replay(**parameters: Any) -> State[Any]:
    """Run the flow to its end."""
    return standby_replay(Replay(settle=0, **parameters), return_state=True)


def operations(platform: Backlogs) -> list[OperationRow]:
    """The ledger's operations, newest first."""
    with Ledger.open(platform.config.ledger_url()) as ledger:
        return ledger.operations()


def artifact(run_id: str, key: str) -> str:
    """A report that a run made."""
    with get_client(sync_client=True) as client:
        return str(artifacts_of(client, UUID(run_id))[key].data)


def test_what_waits_is_back_once_and_in_order_and_the_lanes_are_open_again(platform: Backlogs) -> None:
    orders, refunds = platform.topics
    ids = platform.fill(orders, 3_000)
    more = platform.fill(refunds, 200)

    state = replay(mode="run")

    assert (word(state), state.is_completed()) == ("proved", True)
    assert platform.ids_by_key(orders) == by_key(ids)
    assert platform.ids_by_key(refunds) == by_key(more)
    assert platform.are_open(orders)
    assert platform.are_open(refunds)
    (operation,) = operations(platform)
    assert (operation.status, operation.verdict) == ("done", "proved")
    assert operation.counts is not None
    assert operation.counts["published"] == operation.counts["found"] == 3_200
    report = artifact(operation.id, report_key("standby-replay"))
    assert report.startswith("## Proved: 3,200 events back in Kafka")


def test_what_a_partner_sent_again_to_another_gateway_while_both_were_in_doubt_is_proved_and_told(
    platform: Backlogs,
) -> None:
    orders, _ = platform.topics
    encode = SchemaRegistry(platform.config.registry_client_config()).writer(orders).encode
    lane = Lane(platform.cluster, orders, partition_of(b"key-1", platform.config.topic(orders).lanes))
    now = int(time.time() * 1000)
    for gateway, accepted in (("gateway-a", now - 9_000), ("gateway-b", now - 2_000)):
        envelope = headers("acme/shop/17", source="gateway", type=orders, time_ms=accepted)
        event = Stored("acme/shop/17", b"key-1", encode({"id": 17}), envelope, accepted, doubtful=True)
        platform.store_in(lane, gateway, [event])

    state = replay(mode="run")

    assert word(state) == "proved"
    assert platform.ids_by_key(orders) == {b"key-1": ["acme/shop/17"] * 2}
    (operation,) = operations(platform)
    report = artifact(operation.id, report_key("standby-replay"))
    assert "sent again by their senders | 1 (the same id, accepted again" in report


def test_a_plan_shows_what_waits_and_leaves_no_trace(platform: Backlogs) -> None:
    platform.fill(platform.topics[0], 1_000)
    before = platform.traces()

    state = replay(mode="plan", rate=100)

    assert word(state) == "planned"
    assert platform.traces() == before
    (operation,) = operations(platform)
    assert (operation.status, operation.verdict, operation.mode) == ("done", None, "plan")
    with Ledger.open(platform.config.ledger_url()) as ledger:
        assert ledger.held() == {}
    plan = artifact(operation.id, plan_key("standby-replay"))
    assert plan.startswith("## 1,000 events to bring back")
    assert str(operation.plan_digest) in plan
    assert "10 s (by the rate)" in plan
    assert "all known to the registry" in plan


def test_the_same_backlog_has_the_same_digest_and_another_one_has_not(platform: Backlogs) -> None:
    platform.fill(platform.topics[0], 100)
    replay(mode="plan")
    replay(mode="plan")
    platform.fill(platform.topics[0], 1)
    replay(mode="plan")

    third, second, first = (operation.plan_digest for operation in operations(platform))
    assert first == second != third


def test_where_nothing_waits_it_ends_at_once(platform: Backlogs) -> None:
    state = replay(mode="run")
    assert (state.is_completed(), state.message) == (True, "nothing to replay: no topic has any lane yet")
    (operation,) = operations(platform)
    assert (operation.status, operation.verdict) == ("done", None)


def test_only_the_topics_that_were_named_are_touched(platform: Backlogs) -> None:
    orders, refunds = platform.topics
    platform.fill(orders, 100)
    platform.fill(refunds, 100)

    assert word(replay(mode="run", topics=[refunds], verify="counts")) == "counted"

    assert platform.are_open(refunds)
    assert not platform.are_open(orders)
    assert platform.ids_by_key(orders) == {}


def test_a_record_of_aliases_that_nobody_can_read_holds_up_the_replay_of_its_own_topic_only(platform: Backlogs) -> None:
    orders, refunds = platform.topics
    ids, odd = platform.fill(orders, 200), [f"junk-{orders}", refunds]
    platform.fill(refunds, 200)
    platform.write_aliases(odd, b"hello")
    try:
        state = replay(mode="run", topics=[orders])
        assert word(state) == "proved"
        assert platform.ids_by_key(orders) == by_key(ids)
        with pytest.raises(UnavailableError, match=f"alias {refunds}"):
            drain(platform.config, Lane(platform.cluster, refunds, 0), operation="a test", settle=0)
        assert not platform.ids_by_key(refunds), "they may belong to another topic by now"
    finally:
        platform.write_aliases(odd, None)
    assert word(replay(mode="run")) == "proved"
    assert platform.are_open(refunds)


def test_a_topic_that_another_run_holds_is_refused_by_the_name_of_that_run(platform: Backlogs) -> None:
    orders, refunds = platform.topics
    platform.fill(orders, 100)
    platform.fill(refunds, 100)
    with Ledger.open(platform.config.ledger_url()) as ledger:
        other = ledger.begin(
            "dlq-correction", "run", cluster="main", resources=[f"main/{orders}"], who="anna", parameters={}
        )
        ledger.claim([f"main/{orders}"], other)
        with other.keep_alive(every=0.3):
            refused = replay(mode="run", topics=[orders, refunds])
            others = replay(mode="run")

    assert (word(refused), refused.is_completed()) == ("refused", False)
    assert f"main/{orders} is held by dlq-correction {other.id}" in str(refused.message)
    # Nobody named the topics: then what is free is replayed all the same.
    assert word(others) == "proved"
    assert platform.are_open(refunds)
    assert platform.ids_by_key(orders) == {}
    assert [operation.status for operation in operations(platform)][:2] == ["done", "refused"]


def test_its_pace_can_be_changed_while_it_works_and_the_next_run_knows_nothing_of_that(platform: Backlogs) -> None:
    orders, _ = platform.topics
    platform.fill(orders, 2_000)
    states: list[State[Any]] = []

    def run() -> None:
        settings = {PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with temporary_settings(updates=settings):
            states.append(replay(mode="run", rate=20))  # 100 s

    api = PREFECT_API_URL.value()
    began = time.monotonic()
    thread = threading.Thread(target=run)
    thread.start()
    with get_client(sync_client=True) as client:
        while not (names := [name for name in running(client, "standby-replay") if name in _own(platform)]):
            time.sleep(0.2)
        set_pace(client, names[0], Pace(paused=True))
        time.sleep(3)
        paused = len(platform.ids_by_key(orders))
        time.sleep(1)
        assert len(platform.ids_by_key(orders)) == paused
        set_pace(client, names[0], Pace(rate=None))
        thread.join(60)
        assert client.read_variable_by_name(names[0]) is None
    assert [word(state) for state in states] == ["proved"]
    assert time.monotonic() - began < 60
    (operation,) = operations(platform)
    assert operation.evidence is not None
    assert operation.evidence["pace"] == "at most 20 events/s"
    assert [(change["rate"], change["paused"]) for change in operation.evidence["pace_changes"]] == [
        (None, True),
        (None, False),
    ]
    assert "at most 20 events/s, then paused, then full speed" in artifact(operation.id, report_key("standby-replay"))


def _own(platform: Backlogs) -> list[str]:
    return [variable_name("standby-replay", operation.id) for operation in operations(platform)]


def test_events_whose_schema_the_registry_has_lost_are_reported_and_come_back_all_the_same(platform: Backlogs) -> None:
    orders, _ = platform.topics
    ids = platform.fill(orders, 100, schema_id=987_654)

    assert word(replay(mode="plan")) == "planned"
    plan = artifact(operations(platform)[0].id, plan_key("standby-replay"))
    assert "The registry does not know schema id 987654." in plan

    assert word(replay(mode="run")) == "proved"
    assert platform.ids_by_key(orders) == by_key(ids)


def test_a_group_to_protect_that_nobody_knows_is_refused_before_anything_is_published(platform: Backlogs) -> None:
    """Mistyped, it would never be behind."""
    orders, _ = platform.topics
    ids = platform.fill(orders, 100)
    before = platform.traces()
    state = replay(mode="run", protect=Protect(group="analytcis"))
    assert state.is_failed()
    assert f"protect.group: analytcis has committed nothing for {orders}" in str(state.message)
    assert platform.traces() == before

    reader = Consumer(platform.config.cluster(platform.cluster).client_config() | {"group.id": "analytics"})
    reader.commit(offsets=[TopicPartition(orders, 0, 0)], asynchronous=False)
    reader.close()
    assert word(replay(mode="run", protect=Protect(group="analytics"))) == "proved"
    assert platform.ids_by_key(orders) == by_key(ids)


def test_a_topic_that_is_not_in_the_settings_is_named(platform: Backlogs) -> None:
    state = replay(mode="plan", topics=["ordres"])
    assert state.is_failed()
    assert "topics.ordres: there is no such topic" in str(state.message)
