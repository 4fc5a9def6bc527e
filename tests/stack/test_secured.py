"""On brokers that let nobody do what no ACL allows, each role works with the ACLs that are generated for it."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from typer.testing import CliRunner

from deployments.local.security import ADMIN, BROKER
from deployments.local.stack import Stack
from flows.broker_scaling import Scale, broker_scaling
from flows.cluster_health import cluster_health
from flows.dlq_correction import Correction, dlq_correction
from flows.dlq_triage import dlq_triage
from flows.partition_rebalance import Rebalance, partition_rebalance
from flows.schema_backfill import Backfill, schema_backfill
from flows.standby_replay import Replay, standby_replay
from redrive.cli import app
from redrive.config import Config
from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.dispatch import rights
from redrive.errors import PublishError, RedriveError, UnavailableError
from redrive.gateway.api_keys import hash_of, new_key
from redrive.gateway.app import create_app
from redrive.health.looking import is_known, look
from redrive.partitions.probe import PARTITIONS, Probe
from redrive.partitions.strain import ProduceLatency, over_limit
from redrive.producer import EventProducer
from redrive.pump.readback import end_offsets
from redrive.pump.sink import TransactionalSink
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, Topics
from redrive.standby.survey import survey
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tests.stack.backlog import word
from tests.stack.clinic import RULES
from tests.stack.platform import ORDER, wait_until

pytestmark = pytest.mark.timeout(300)

JOBS = (
    "standby-replay", "dlq-triage", "dlq-correction", "partition-rebalance", "schema-backfill", "broker-scaling",
    "cluster-health", "governance",
)  # fmt: skip
OPTIONS = {"schema-backfill": ("--topic", "orders", "--target", "orders.v2", "--group", "billing")}
STOCK: dict[str, Any] = {"type": "record", "name": "Stock", "fields": [{"name": "id", "type": "long"}]}
SETTINGS = """\
[standby]
table = "standby"
[registry]
username = "redrive"
password = {env = "PASSWORD_OF_THE_REGISTRY"}
[ledger]
url = "sqlite:///ledger.db"
password = {env = "PASSWORD_OF_THE_LEDGER"}
[corrections]
approval = "none"
[rebalancing]
approval = "none"
[backfills]
approval = "none"
[domains.sales]
cluster = "local"
[clusters.local.fleet]
kind = "command"
load = ["echo", '{"1": 75, "2": 75, "3": 75}']
add = ["false", "{brokers}"]
[gateway.types]
"order.created" = "orders"
[gateway.partners.acme]
types = ["order.created"]
"""
KEY = new_key()
PASSWORDS = {"PASSWORD_OF_THE_REGISTRY": new_key(), "PASSWORD_OF_THE_LEDGER": new_key()}
NOTE = "noted-by-a-customer"
"""Stands in values of events."""


def topic(name: str, schema: str = "") -> str:
    return f'[topics."{name}"]\ndomain = "sales"\npartitions = 2\nreplication = 2\n{schema}\n'


class Fortress:
    """A secure stack with a user for each role, and all that was said aloud there."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.said = stack, folder, list[str]()
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        (folder / "rules.yaml").write_text(RULES)
        schema = 'schema = "order.avsc"'
        (folder / "stock.avsc").write_text(json.dumps(STOCK))
        letters = [topic(f"dlq.{name}") for name in ("shop", "billing", "gateway")]
        topics = [
            topic("orders", schema),
            topic("orders.v2", schema),
            topic("stock", 'schema = "stock.avsc"'),
            *letters,
        ]
        (folder / "redrive.toml").write_text(f'{SETTINGS}keys = ["{hash_of(KEY)}"]\n' + "".join(topics))
        self.users = ["shop", "billing", "gateway", *JOBS]

    def prepare(self) -> None:
        with self.user(ADMIN):
            assert self.redrive("topics", "apply") == 0
            for name in (*self.users, "nobody"):
                self.stack.add_user(name)
            self.allow("producer", "--name", "shop")
            self.allow("consumer", "--name", "billing", "--topic", "orders")
            self.allow("gateway")
            for job in JOBS:
                self.allow(job, *OPTIONS.get(job, ()))

    def allow(self, *role: str) -> None:
        assert self.redrive("security", "acls", *role, "--apply") == 0

    def redrive(self, *arguments: str) -> int:
        result = CliRunner().invoke(app, arguments)
        self.said.append(result.output + repr(result.exception))
        return result.exit_code

    @contextmanager
    def user(self, name: str) -> Iterator[Config]:
        """Be somebody."""
        with pytest.MonkeyPatch.context() as patch:
            variables = self.stack.environment() | self.stack.security.settings("local", name) | PASSWORDS
            for variable, value in (variables | {"REDRIVE_CONFIG": str(self.folder / "redrive.toml")}).items():
                patch.setenv(variable, value)
            yield Config.load()

    def ends(self, topic: str) -> list[int]:
        with self.user(ADMIN) as config:
            return end_offsets(config.cluster("local").client_config(), topic)

    def diverted(self, topic: str) -> int:
        """How many lanes do not go to Kafka."""
        with self.user(ADMIN) as config:
            return sum(not lane.is_open for lane in survey(open_store(config), "local", [topic]))

    def take_away(self, user: str, topic: str) -> None:
        """Delete what ACLs allow a user to do with a topic."""
        with self.user(ADMIN) as config:
            admin = AdminClient(config.cluster("local").client_config())
            every = AclBindingFilter(
                ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", None, AclOperation.WRITE,
                AclPermissionType.ANY,
            )  # fmt: skip
            for deleted in admin.delete_acls([every]).values():
                assert deleted.result()

    def refused(self, kind: type[RedriveError], call: Any) -> str:
        with pytest.raises(kind) as caught:
            call()
        self.said.append(f"{caught.value} {caught.value!r} {caught.value.__dict__}")
        return str(caught.value)


@pytest.fixture(scope="module")
def fortress() -> Iterator[Fortress]:
    folder = Path(tempfile.mkdtemp(prefix="redrive-secured-"))
    stack = Stack(folder / "stack", "free", secure=True)
    heard, root = logging.FileHandler(folder / "heard.log"), logging.getLogger()
    before = root.level
    try:
        stack.up()
        root.addHandler(heard)
        root.setLevel(logging.DEBUG)
        fortress = Fortress(stack, folder)
        fortress.prepare()
        settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with temporary_settings(updates=settings):
            yield fortress
    finally:
        root.setLevel(before)
        root.removeHandler(heard)
        stack.down(wipe=True)


def test_each_role_works_with_its_own_acls_and_nobody_says_a_secret(fortress: Fortress) -> None:
    with fortress.user("shop") as config, EventProducer("shop", config, topics=["orders"]) as producer:
        values = [("k", {"id": 1, "note": NOTE}), ("other", {"id": "2", "note": NOTE})]
        receipts = [producer.publish("orders", key, value) for key, value in values]
        assert [receipt.result(30).path for receipt in receipts] == ["main", "dead_letter"]

    store_events(fortress, [3, 4])
    with fortress.user("standby-replay"):
        state = standby_replay(Replay(mode="run", settle=0), return_state=True)
        assert word(state) == "proved", state.message

    with fortress.user("dlq-triage"):
        state = dlq_triage(return_state=True)
        assert state.is_completed(), state.message
    with fortress.user("dlq-correction"):
        state = dlq_correction(Correction(mode="run", rules="rules.yaml"), return_state=True)
        assert word(state) == "proved", state.message

    with fortress.user("billing") as config, EventConsumer("billing", config, ["orders"]) as consumer:
        seen: list[Any] = []
        consumer.run(lambda event: seen.append(event.value["id"]), idle=10)
        assert sorted(seen) == [1, 2, 3, 4]

    with fortress.user("schema-backfill"):
        moved: dict[str, Any] = {"mode": "run", "source": "orders", "target": "orders.v2"}
        for given in ({"goal": "copy"}, {"goal": "cut_over", "groups": ["billing"]}):
            state = schema_backfill(Backfill(**moved, **given), return_state=True)
            assert word(state) == "proved", state.message
    with fortress.user("partition-rebalance"):
        state = partition_rebalance(
            Rebalance(mode="run", goal="replication_factor", replication=3, throttle=50, max_produce_latency=30_000),
            return_state=True,
        )
        assert word(state) == "proved", state.message

    assert_no_secrets(fortress)


def test_partners_publish_through_a_gateway_with_its_own_acls(fortress: Fortress) -> None:
    before = fortress.ends("orders")
    with fortress.user("gateway") as config, TestClient(create_app(config)) as partner:
        headers = {"X-API-Key": KEY, "Content-Type": "application/cloudevents+json"}
        event = {"specversion": "1.0", "id": "17", "source": "/shop", "type": "order.created", "partitionkey": "k"}
        answer = partner.post(
            "/v1/events/order.created", json=event | {"data": {"id": 17, "note": NOTE}}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        fortress.said.append(answer.text)
    assert sum(fortress.ends("orders")) == sum(before) + 1
    with fortress.user("gateway") as config, EventProducer("gateway", config, topics=["stock"]) as producer:
        receipt = producer.publish("stock", "k", {"id": 1}).result(30)
    assert receipt.path == "dead_letter"
    assert "lacks Write and Describe on topic stock" in receipt.refusal
    assert_no_secrets(fortress)


def test_those_that_only_look_see_all_with_their_own_acls(fortress: Fortress) -> None:
    with fortress.user("shop") as config, EventProducer("shop", config, topics=["stock"]) as producer:
        assert producer.publish("stock", "k", {"id": 1}).result(30).path == "main"

    with fortress.user("cluster-health") as config:
        (facts,) = look(config, ["local"])
        parts = (facts.state, facts.disks, facts.lags, facts.standby, facts.books, facts.stayed)
        assert [part for part in parts if not is_known(part)] == []
        assert cluster_health(return_state=True).is_completed()
    with fortress.user("broker-scaling"):
        for threshold, ends in ((60, "planned"), (90, "nothing to add")):
            state = broker_scaling(
                Scale(mode="plan" if threshold == 60 else "run", threshold=threshold, window=1), return_state=True
            )
            assert word(state) == ends, state.message
    with fortress.user("governance") as config:
        more = [*STOCK["fields"], {"name": "at", "type": ["null", "string"], "default": None}]
        client = SchemaRegistryClient(config.registry_client_config())
        client.register_schema("stock-value", Schema(json.dumps(STOCK | {"fields": more}), "AVRO"))
        for command in ("census", "writers"):
            assert fortress.redrive("schemas", command, "stock") == 0, fortress.said[-1]
        assert fortress.redrive("schemas", "delete", "stock-value", "1", "--dry-run") == 1
        assert "1 events in stock on local" in fortress.said[-1]
    assert_no_secrets(fortress)


def test_an_event_of_a_topic_that_may_not_be_written_becomes_a_dead_letter_and_diverts_nothing(
    fortress: Fortress,
) -> None:
    before = fortress.ends("orders.v2")
    with fortress.user("billing") as config, EventProducer("billing", config, topics=["orders.v2"]) as producer:
        for number in range(3):
            receipt = producer.publish("orders.v2", "k", {"id": number}).result(30)
            assert receipt.path == "dead_letter"
            assert "this principal lacks Write and Describe on topic orders.v2" in receipt.refusal
            assert "`redrive security acls producer`" in receipt.refusal
    assert fortress.ends("orders.v2") == before
    assert fortress.diverted("orders.v2") == 0


def test_what_may_not_even_become_a_dead_letter_is_refused_at_once(fortress: Fortress) -> None:
    with fortress.user("billing") as config, EventProducer("shop", config, topics=["orders"]) as producer:
        text = fortress.refused(PublishError, lambda: producer.publish("orders", "k", {"id": 9}))
    assert "lacks Write on topic orders:" in text
    assert "lacks Write and Describe on topic dlq.shop" in text
    assert fortress.diverted("orders") == 0


def test_a_right_that_is_taken_away_costs_one_diversion_and_is_noticed_when_it_is_back(
    fortress: Fortress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rights, "AGAIN", 0.5)
    with fortress.user("shop") as config, EventProducer("shop", config, topics=["stock"]) as producer:

        def publish() -> str:
            return producer.publish("stock", "k", {"id": 2}).result(30).path

        assert publish() == "main"
        fortress.take_away("shop", "stock")
        publish()
        wait_until(lambda: publish() == "dead_letter")
        lanes = fortress.diverted("stock")
        assert [publish() for _ in range(5)] == ["dead_letter"] * 5
        assert fortress.diverted("stock") == lanes <= 1

        with fortress.user(ADMIN):
            fortress.allow("producer", "--name", "shop")
        wait_until(lambda: publish() != "dead_letter")
    with fortress.user("standby-replay"):
        assert word(standby_replay(Replay(mode="run", settle=0), return_state=True)) in ("proved", "nothing to replay")
    said = (fortress.folder / "heard.log").read_text()
    assert "this principal lacks Write on topic stock" in said


def test_who_reads_what_it_may_not_is_told_which_right_is_missing(fortress: Fortress) -> None:
    with fortress.user("nobody") as config:
        client = config.cluster("local").client_config()
        text = fortress.refused(UnavailableError, lambda: end_offsets(client, "orders"))
        assert "this principal needs Read and Describe on topic orders" in text


def test_a_probe_that_may_not_write_says_so_and_tells_no_latency(fortress: Fortress) -> None:
    with fortress.user("billing") as config:
        with Probe(config.cluster("local").client_config(), PARTITIONS) as probe:
            deadline = time.monotonic() + 120
            while not probe.refused and time.monotonic() < deadline:
                time.sleep(0.1)
        assert "Topic authorization failed" in over_limit([ProduceLatency(probe, limit=100)])
        assert probe.phase.events == 0


def test_who_has_no_acls_is_refused_and_told_what_for(fortress: Fortress) -> None:
    with fortress.user("nobody") as config:
        with EventConsumer("billing", config, ["orders"], settings=ConsumerSettings(max_poll_interval=30)) as consumer:
            text = fortress.refused(RedriveError, lambda: consumer.run(print, idle=20))
            assert "uthoriz" in text
        sink = TransactionalSink(config.cluster("local").client_config(), "standby/local/orders/0", patience=20)
        assert "redrive security acls" in fortress.refused(RedriveError, sink.start)
    assert_no_secrets(fortress)


def test_a_role_may_not_do_what_another_one_does(fortress: Fortress) -> None:
    with fortress.user("dlq-triage") as config:
        sink = TransactionalSink(config.cluster("local").client_config(), "standby/local/orders/0", patience=20)
        assert "redrive.checkpoints: " in fortress.refused(RedriveError, sink.start)
    with fortress.user("billing"):
        assert fortress.redrive("security", "acls", "administrator", "--apply") == 1
        assert "refuses adding ACLs: this principal may not do that" in fortress.said[-1]


def test_a_wrong_password_is_told_without_it(fortress: Fortress, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wr0ng-pa55word")
    with fortress.user(ADMIN), pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDRIVE_CLUSTERS__LOCAL__PASSWORD__FILE", str(wrong))
        with EventConsumer("billing", Config.load(), ["orders"]) as consumer:
            text = fortress.refused(RedriveError, lambda: consumer.run(print, idle=20))
        assert "uthentication" in text
        assert "wr0ng" not in "".join(fortress.said)
    assert_no_secrets(fortress)


def store_events(fortress: Fortress, ids: list[int]) -> None:
    """Store events as a producer does when the cluster is away."""
    with fortress.user("shop") as config:
        encode = SchemaRegistry(config.registry_client_config()).writer("orders").encode
        store = open_store(config)
        Topics(store, "local").lanes("orders", 2)
        writer = LaneWriter(store, Lane("local", "orders", 1), "shop", clock=SystemClock(), grace=0.0, seal_wait=5.0)
        assert writer.enter(must_divert=True) is Entry.STANDBY
        now = time.time_ns() // 1_000_000
        stored = [Stored(f"e-{i}", b"k", encode({"id": i, "note": NOTE}), [("ce_id", b"e-%d" % i)], now) for i in ids]
        assert writer.store(stored)


def assert_no_secrets(fortress: Fortress) -> None:
    """Look for passwords and keys in all that was written, and for what stands in events.

    That is: logs of ours and of the nodes, Prefect's database, the ledger, and what commands have said. Our own log, on
    DEBUG, has what clients of AWS and HTTP send; there it is only the passwords that must not be.
    """
    security = fortress.stack.security
    users = (ADMIN, BROKER, "nobody", *fortress.users)
    secrets = [each.encode() for each in (*map(security.password, users), KEY, *PASSWORDS.values())]
    places = [
        fortress.folder / "heard.log",
        *fortress.folder.glob("ledger.db*"),
        *(fortress.folder / "stack/logs").iterdir(),
        *(fortress.folder / "stack/prefect").glob("prefect.db*"),
    ]
    written = {place: place.read_bytes() for place in places}
    for place, text in written.items():
        assert not [secret for secret in secrets if secret in text], place
        assert place.name == "heard.log" or NOTE.encode() not in text, place
    # They are the right places: what was done stands there.
    for name in ("ledger.db", "prefect.db"):
        assert any(b"standby-replay" in text for place, text in written.items() if place.name.startswith(name))
    assert written[fortress.folder / "heard.log"]
    assert not [secret for secret in (*secrets, NOTE.encode()) if secret in "\n".join(fortress.said).encode()]
