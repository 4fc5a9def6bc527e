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
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from typer.testing import CliRunner

from deployments.local.security import ADMIN, BROKER
from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from flows.dlq_triage import dlq_triage
from flows.partition_rebalance import Rebalance, partition_rebalance
from flows.schema_backfill import Backfill, schema_backfill
from flows.standby_replay import Replay, standby_replay
from redrive.cli import app
from redrive.config import Config
from redrive.consumer import ConsumerSettings, EventConsumer
from redrive.errors import PublishError, RedriveError
from redrive.producer import EventProducer
from redrive.pump.readback import end_offsets
from redrive.pump.sink import TransactionalSink
from redrive.schemas import SchemaRegistry
from redrive.standby.batches import Stored
from redrive.standby.drain import open_store
from redrive.standby.lanes import Lane, Topics
from redrive.standby.writer import Entry, LaneWriter, SystemClock
from tests.stack.backlog import word
from tests.stack.clinic import RULES
from tests.stack.platform import ORDER

pytestmark = pytest.mark.timeout(300)

JOBS = ("standby-replay", "dlq-triage", "dlq-correction", "partition-rebalance", "schema-backfill")
OPTIONS = {"schema-backfill": ("--topic", "orders", "--target", "orders.v2", "--group", "billing")}
SETTINGS = """\
[standby]
table = "standby"
[ledger]
url = "sqlite:///ledger.db"
[corrections]
approval = "none"
[rebalancing]
approval = "none"
[backfills]
approval = "none"
[domains.sales]
cluster = "local"
"""


def topic(name: str, schema: str = "") -> str:
    return f'[topics."{name}"]\ndomain = "sales"\npartitions = 2\nreplication = 2\n{schema}\n'


class Fortress:
    """A secure stack with a user for each role, and all that was said aloud there."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.said = stack, folder, list[str]()
        (folder / "order.avsc").write_text(json.dumps(ORDER))
        (folder / "rules.yaml").write_text(RULES)
        schema = 'schema = "order.avsc"'
        topics = [topic("orders", schema), topic("orders.v2", schema), topic("dlq.shop"), topic("dlq.billing")]
        (folder / "redrive.toml").write_text(SETTINGS + "".join(topics))
        self.users = ["shop", "billing", *JOBS]

    def prepare(self) -> None:
        with self.user(ADMIN):
            assert self.redrive("topics", "apply") == 0
            for name in (*self.users, "nobody"):
                self.stack.add_user(name)
            self.allow("producer", "--name", "shop")
            self.allow("consumer", "--name", "billing", "--topic", "orders")
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
            variables = self.stack.environment() | self.stack.security.settings("local", name)
            for variable, value in (variables | {"REDRIVE_CONFIG": str(self.folder / "redrive.toml")}).items():
                patch.setenv(variable, value)
            yield Config.load()

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
        receipts = [producer.publish("orders", "k", {"id": 1}), producer.publish("orders", "other", {"id": "2"})]
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
        for goal in ("copy", "cut_over"):
            state = schema_backfill(
                Backfill(mode="run", goal=goal, source="orders", target="orders.v2", groups=["billing"]),
                return_state=True,
            )
            assert word(state) == "proved", state.message
    with fortress.user("partition-rebalance"):
        state = partition_rebalance(
            Rebalance(mode="run", goal="replication_factor", replication=3, throttle=50), return_state=True
        )
        assert word(state) == "proved", state.message

    assert_no_secrets(fortress)


def test_what_a_producer_may_not_write_does_not_get_to_kafka_and_its_log_says_why(fortress: Fortress) -> None:
    """Its caller hears so, or it (or a letter of it) is stored as in an outage: by what librdkafka tells first."""

    def ends() -> list[list[int]]:
        with fortress.user(ADMIN) as config:
            return [end_offsets(config.cluster("local").client_config(), topic) for topic in ("orders", "dlq.shop")]

    before = ends()
    with fortress.user("billing") as config, EventProducer("shop", config, topics=["orders"]) as producer:
        try:
            assert producer.publish("orders", "k", {"id": 9}).result(30).path in ("standby", "dead_letter")
        except PublishError as error:
            assert "Topic authorization failed" in str(error)  # noqa: PT017 (it need not be raised)
    assert ends() == before
    said = (fortress.folder / "heard.log").read_text()
    assert "Topic authorization failed" in said
    assert "give this principal what a producer needs: `redrive security acls producer`" in said


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
        stored = [Stored(f"e-{i}", b"k", encode({"id": i}), [("ce_id", b"e-%d" % i)], now) for i in ids]
        assert writer.store(stored)


def assert_no_secrets(fortress: Fortress) -> None:
    """Look for passwords in all that was written: logs of ours and of the nodes, Prefect's database, the ledger."""
    security = fortress.stack.security
    secrets = [security.password(user).encode() for user in (ADMIN, BROKER, "nobody", *fortress.users)]
    places = [
        fortress.folder / "heard.log",
        *fortress.folder.glob("ledger.db*"),
        *(fortress.folder / "stack/logs").iterdir(),
        *(fortress.folder / "stack/prefect").glob("prefect.db*"),
    ]
    written = {place: place.read_bytes() for place in places}
    for place, text in written.items():
        assert not [secret for secret in secrets if secret in text], place
    # They are the right places: what was done stands there.
    for name in ("ledger.db", "prefect.db"):
        assert any(b"standby-replay" in text for place, text in written.items() if place.name.startswith(name))
    assert written[fortress.folder / "heard.log"]
    assert not [secret for secret in secrets if secret in "\n".join(fortress.said).encode()]
