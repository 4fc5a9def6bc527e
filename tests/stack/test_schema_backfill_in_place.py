"""The goal `in_place` of `schema-backfill` on a real compacted topic, as a flow run on a real Prefect server."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.schema_backfill import Backfill, schema_backfill
from redrive.config import Config
from redrive.errors import ConfigError, UnavailableError
from redrive.migrations.abandoning import abandon
from redrive.migrations.in_place.guard import Guard
from tasks.ending import plan_key, report_key
from tests.stack.backlog import word
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(300)

NO_NOTE = object()  # None is a deletion


class Shop(MovingHouse):
    """A platform whose orders are kept by key, and are to have the second version of their schema where they are."""

    def settings(self, approval: str = "none", processes: int = 0) -> None:
        super().settings(approval, processes)
        written = self.file.read_text()
        if written.index("order.avsc") < written.index(self.refunds):
            self.file.write_text(written.replace("order.avsc", "order_v2.avsc", 1))
        self.config = Config.load(self.file)
        self.clean("compact")

    def clean(self, policy: str) -> None:
        self.set_option("cleanup.policy", policy)

    def set_option(self, name: str, setting: str) -> None:
        entry = ConfigEntry(name, setting, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.orders, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # a name of its own: the answer is lost with it
        admin.incremental_alter_configs([resource])[resource].result()

    def put(self, notes: Mapping[str, object], partition: int = 0) -> None:
        """Write old orders by key: a note, none, or None for a deletion."""
        for number, (key, note) in enumerate(notes.items()):
            order = {"id": number, "note": None if note is NO_NOTE else note}
            self.send(self.orders, [None if note is None else self.writer.encode(order)], partition, key=key.encode())

    def kept(self) -> dict[str, Any]:
        """What a reader takes for the keys' values."""
        reader = self.registry.reader()
        found = sorted(self.read(self.orders), key=lambda each: (each.partition(), each.offset()))
        return {
            (message.key() or b"").decode(): message.value() and reader.decode(message.value() or b"")
            for message in found
        }


@pytest.fixture
def shop(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shop = Shop(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(shop.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield shop


def run(shop: Shop, mode: str = "run", **parameters: Any) -> State[Any]:
    given = {
        "mode": mode, "goal": "in_place", "source": shop.orders, "target": shop.orders, "rules": "rules.yaml",
    } | parameters  # fmt: skip
    return schema_backfill(Backfill(**given), return_state=True)


def test_a_plan_counts_keys_and_says_what_cannot_be_migrated(shop: Shop) -> None:
    shop.put({"a": "old", "b": "b", "c": NO_NOTE, "d": "d"})
    shop.put({"a": "newer", "d": None})

    state = run(shop, "plan")

    assert word(state) == "planned", state.message
    assert "3 of 3 live keys" in (state.message or "")
    assert "1 of 3 tried can't be migrated" in (state.message or "")
    plan = shop.shown(plan_key("schema-backfill"))
    assert "a deletion, which stays" in plan
    assert "No way back" in plan
    assert "invalid-value: note" in plan
    assert len(shop.read(shop.orders)) == 6


def test_all_live_keys_have_the_new_schema_afterwards_and_deletions_stay(shop: Shop) -> None:
    shop.put({"a": "old", "b": "!b", "d": "d"})
    shop.put({"a": "newer", "d": None})
    shop.put({"e": "e"}, 1)

    state = run(shop)

    assert word(state) == "proved", state.message
    assert "3 events published again; 0 of 3 live keys have another schema still" in (state.message or "")
    assert shop.kept() == {
        "a": {"number": 0, "note": "newer", "urgent": False},
        "b": {"number": 1, "note": "!b", "urgent": True},
        "d": None,
        "e": {"number": 0, "note": "e", "urgent": False},
    }
    assert shop.operation().counts["compared"] == 3
    assert "which all are to have" in shop.shown(report_key("schema-backfill"))
    assert "0 events published again" in (run(shop).message or "")


def test_what_cannot_be_migrated_stops_the_run_unless_it_may_stay(shop: Shop) -> None:
    shop.put({"a": "a", "b": NO_NOTE})

    state = run(shop)
    assert word(state) == "paused", state.message
    assert "1 event would have to stay unmigrated, and at most 0 may be" in (state.message or "")

    state = run(shop, most_parked=1)
    assert word(state) == "proved", state.message
    assert "1 of 2 live keys have another schema still" in (state.message or "")
    assert shop.kept()["a"]["urgent"] is False


def test_events_that_brokers_refuse_once_migrated_may_stay_as_well(shop: Shop) -> None:
    def note(letters: int) -> str:
        return "".join(random.Random(letters).choices(string.ascii_letters, k=letters))

    shop.put({"a": note(950), "b": note(5000), "c": "c"})  # as they are to be: found by the broker; known beforehand
    shop.set_option("max.message.bytes", "1000")

    state = run(shop, most_parked=2)

    assert word(state) == "proved", state.message
    assert "2 of 3 live keys have another schema still" in (state.message or "")


def test_a_retry_does_not_count_again_what_cannot_be_migrated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put({"a": "a", "b": NO_NOTE})
    holds, answers = Guard.holds, [UnavailableError("Kafka", "away")]

    def away_once(self: Any, *given: Any) -> bool:
        if answers:
            raise answers.pop()
        return holds(self, *given)

    monkeypatch.setattr(Guard, "holds", away_once)

    state = run(shop, most_parked=1)

    assert not answers
    assert word(state) == "proved", state.message


def test_a_topic_that_is_not_compacted_is_refused(shop: Shop) -> None:
    shop.clean("delete")
    state = run(shop, "plan")
    assert state.is_failed()
    assert "is not compacted" in (state.message or "")


def test_a_topic_that_hardly_keeps_deletions_is_refused(shop: Shop) -> None:
    shop.set_option("delete.retention.ms", "59999")
    state = run(shop, "plan")
    assert state.is_failed()
    assert "keeps deletions for 59,999 ms only" in (state.message or "")


def test_what_was_migrated_in_place_cannot_be_given_up_since_that_would_delete_it(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="is the source"):
        abandon(shop.config, shop.orders, shop.orders)
    assert shop.exists(shop.orders)
