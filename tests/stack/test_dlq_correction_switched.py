"""Dead letters of a topic whose producers were switched to another one, from the switch to the letter's new place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from redrive import EventProducer
from redrive.aliases.switching import switch
from redrive.aliases.turning import alias_forth
from redrive.config import Config
from redrive.deadletters.correction.by_hand import Edit, LetterInHand
from redrive.deadletters.fate import FateOrNone
from redrive.deadletters.selection import Selection
from redrive.deadletters.triage import triage
from redrive.errors import InvalidEventError
from redrive.ledger import Ledger
from redrive.pump.readback import end_offsets
from tasks.ending import plan_key
from tests.stack.backlog import word
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse

pytestmark = pytest.mark.timeout(150)

RULES = """\
match: first
rules:
  - name: numbers as text
    match: {reason: invalid-value, field: id, when: "type(value.id) == string"}
    do: [{op: convert, path: /id, to: integer}]
"""


class Switched(MovingHouse):
    """A platform with dead letters, whose producers are switched."""

    def settings(self, approval: str = "none", processes: int = 0) -> None:
        super().settings(approval, processes)
        quick = "[standby]\ngate_refresh = 0.3\ndivert_after = 1.5\n"
        text = self.file.read_text().replace("[standby]\n", quick)
        self.file.write_text(f'{text}[corrections]\napproval = "none"\n')
        (self.file.parent / "fix.yaml").write_text(RULES)
        self.config = Config.load(self.file)

    def switch(self) -> None:
        moved = migration(self)
        with following(self.config, moved):
            switched = switch(self.config, alias_forth(self.config, moved), operation="forth", settle=0.5)
        assert not switched.no_places

    def triage(self) -> None:
        with Ledger.open(self.config.ledger_url()) as ledger:
            operation = ledger.begin("dlq-triage", "run", cluster="one", resources=[], who="anna", parameters={})
            triage(self.config.cluster("one").client_config(), "one", self.dead_letters, ledger.letters, operation)
            operation.finish("done")

    def fates(self) -> dict[bytes | None, str]:
        """Key → fate of its letter."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            return {each.sighting.key: each.fate for each in ledger.letters.find(Selection(fates=[]))}

    def by_hand(self, ledger: Ledger, key: bytes, fate: FateOrNone = "none") -> LetterInHand:
        (letter,) = [each for each in ledger.letters.find(Selection(fates=[fate])) if each.sighting.key == key]
        return LetterInHand.take(self.config, ledger, self.registry, letter.id)

    def take_at_most(self, size: int) -> None:
        """Have the target refuse what is larger."""
        entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, self.target, incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(60)

    def retain_no_letters(self) -> None:
        """Do what retention does to all dead letters that there are."""
        ends = end_offsets(self.config.cluster("one").client_config(), self.dead_letters)
        places = [TopicPartition(self.dead_letters, partition, end) for partition, end in enumerate(ends)]
        for deleted in self._admin.delete_records(places).values():
            deleted.result(60)

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap})


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switched]:
    house = Switched(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(house.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield house


def run(mode: Any) -> str:
    return word(dlq_correction(Correction(mode=mode, rules="fix.yaml"), return_state=True))


def test_letters_from_before_a_switch_go_to_where_events_are_read_now_once_and_behind_nothing_newer(
    house: Switched,
) -> None:
    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        for key, value in (
            ("anna", {"id": "1", "note": "!a"}),
            ("berta", {"id": "2", "note": "b"}),
            ("berta", {"id": 3, "note": "newer"}),
            ("clara", {"id": "4", "note": None}),  # no rule takes an order without a note to the new schema
        ):
            producer.publish(house.orders, key, value).result(30)
    house.switch()
    house.triage()

    assert run("plan") == "planned"
    assert f"Letters of `{house.orders}` go to `{house.target}`" in house.shown(plan_key("dlq-correction"))
    assert [order["number"] for order in house.moved()] == [3]

    assert run("run") == "proved"

    assert house.fates() == {b"anna": "published", b"berta": "held", b"clara": "none"}
    newer, corrected = (
        {"number": 3, "note": "newer", "urgent": False}, {"number": 1, "note": "!a", "urgent": True},
    )  # fmt: skip
    assert sorted(house.moved(), key=lambda order: order["number"]) == [corrected, newer]
    assert len(house.read(house.orders)) == 1

    with Ledger.open(house.config.ledger_url()) as ledger:
        clara = house.by_hand(ledger, b"clara")
        with pytest.raises(InvalidEventError, match=f"can't go to {house.target}"):
            clara.check({"id": 4, "note": None})
        clara.check({"id": 4, "note": "c"})
        edit = Edit({"id": 4, "note": "c"})
        done = clara.carry_out(edit, clara.plan(edit), "hold", "anna")
        assert (done.fate.name, done.fate.topic, done.findings) == ("published", house.target, [])

    assert run("run") == "proved"
    assert sorted(order["number"] for order in house.moved()) == [1, 3, 4]
    assert len(house.read(house.orders)) == 1


def test_what_the_new_topic_refuses_of_a_letter_is_parked_and_a_person_brings_it_there_once(house: Switched) -> None:
    """Once retention has deleted the letter, there is only what it had become: an event of the new topic."""
    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        for key, number, note in (("dora", "7", os.urandom(20_000).hex()), ("emil", "8", "short")):
            producer.publish(house.orders, key, {"id": number, "note": note}).result(30)
    house.switch()
    house.triage()
    house.take_at_most(10_000)

    assert run("run") == "proved"
    assert house.fates() == {b"dora": "parked", b"emil": "published"}
    house.retain_no_letters()

    with Ledger.open(house.config.ledger_url()) as ledger:
        dora = house.by_hand(ledger, b"dora", "parked")
        assert (dora.value["number"], dora.goes_to, dora.letter.topic) == (7, house.target, house.target)
        edit = Edit(dora.value | {"note": "shortened"})
        done = dora.carry_out(edit, dora.plan(edit), "hold", "anna")
    assert (done.fate.name, done.fate.topic, done.findings) == ("published", house.target, [])

    assert run("run") == "nothing to correct"
    assert sorted((order["number"], order["note"]) for order in house.moved()) == [(7, "shortened"), (8, "short")]
    assert house.read(house.orders) == []
