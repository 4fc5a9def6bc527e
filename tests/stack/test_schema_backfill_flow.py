"""The job `schema-backfill` on real topics, as a flow run on a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Message, Producer
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

import tasks.schema_backfill.switching
from deployments.local.stack import Stack
from flows.schema_backfill import Backfill, schema_backfill
from redrive import EventProducer
from redrive.aliases import Alias, read_alias, write_alias
from redrive.errors import SwitchedError
from redrive.migrations.abandoning import abandon
from redrive.pump.names import ALIASES_TOPIC, PARKING_TOPIC
from tasks.ending import plan_key, report_key
from tests.stack.backlog import word
from tests.stack.migrations.live import Publishing, by_key
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def house(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MovingHouse]:
    house = MovingHouse(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(house.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield house


def place(message: Message) -> tuple[int | None, int | None]:
    return message.partition(), message.offset()


def run(house: MovingHouse, mode: str = "run", **parameters: Any) -> State[Any]:
    given = {"mode": mode, "source": house.orders, "target": house.target, "rules": "rules.yaml"} | parameters
    return schema_backfill(Backfill(**given), return_state=True)


def test_a_plan_says_what_the_rules_make_of_events_and_changes_nothing(house: MovingHouse) -> None:
    house.publish(["a", "!b", None])
    house.publish(["c"], 1)

    state = run(house, "plan")

    assert word(state) == "planned", state.message
    assert "4 events to copy" in (state.message or "")
    assert "1 of 4 tried can't be migrated" in (state.message or "")
    plan = house.shown(plan_key("schema-backfill"))
    assert f"`{house.orders}/0@2`" in plan
    assert "invalid-value: note" in plan
    assert "none yet: it will be registered" in plan
    assert not house.exists(house.target)
    assert f"{house.target}-value" not in house.client().get_subjects()


def test_events_are_in_the_target_once_as_the_rules_make_them(house: MovingHouse) -> None:
    house.publish(["a", "!b"])
    house.publish(["c"], 1, first=2)

    state = run(house)

    assert word(state) == "proved", state.message
    assert house.moved(0) == [
        {"number": 0, "note": "a", "urgent": False},
        {"number": 1, "note": "!b", "urgent": True},
    ]
    assert house.moved(1) == [{"number": 2, "note": "c", "urgent": False}]
    before, after = (sorted(house.read(topic), key=place) for topic in (house.orders, house.target))
    assert [(m.key(), m.timestamp(), m.headers()) for m in before] == [
        (m.key(), m.timestamp(), (m.headers() or [])[:-2]) for m in after
    ]
    assert house.operation().counts == {
        "events": 3, "copied": 3, "parked": 0, "left_out": 0, "gone": 0, "compared": 3, "groups_moved": 0,
    }  # fmt: skip
    assert "Proved: 3 events copied" in house.shown(report_key("schema-backfill"))


def test_a_second_run_copies_what_has_come_since(house: MovingHouse) -> None:
    house.publish(["a"])
    assert word(run(house)) == "proved"
    house.publish(["b"])

    state = run(house, verify="new")

    assert word(state) == "proved", state.message
    assert [order["note"] for order in house.moved()] == ["a", "b"]
    assert house.operation().counts["compared"] == 1


def test_an_event_that_cannot_be_migrated_stops_the_run_unless_it_may_be_parked(house: MovingHouse) -> None:
    house.publish(["a", None, "c"])

    state = run(house)
    assert word(state) == "paused"
    assert "1 event would have to be parked, and at most 0 may be" in (state.message or "")
    assert house.moved() == []

    state = run(house, most_parked=1)
    assert word(state) == "proved", state.message
    assert [order["note"] for order in house.moved()] == ["a", "c"]
    parked = [
        m for m in house.read(PARKING_TOPIC) if dict(m.headers() or []).get("redrive-topic") == house.target.encode()
    ]
    assert len(parked) == 1
    assert "1 parked" in (state.message or "") or "1 event" in (state.message or "")


def test_a_group_that_is_moved_sees_each_event_once(house: MovingHouse) -> None:
    house.publish([f"{number}" for number in range(10)])
    seen = len(house.consume(house.orders, 4))
    house.publish([f"{number}" for number in range(10, 12)])

    state = run(house, goal="cut_over", groups=[house.group])

    assert word(state) == "proved", state.message
    assert "1 consumer group moved" in (state.message or "")
    reader = house.registry.reader(house.target)
    rest = [reader.decode(value)["note"] for value in house.consume(house.target, 12 - seen)]
    assert rest == [f"{number}" for number in range(seen, 12)]


def test_a_group_that_still_consumes_is_not_moved_and_the_next_run_moves_it(house: MovingHouse) -> None:
    house.publish(["a", "b"])
    with house.consuming(house.orders):
        state = run(house, goal="cut_over", groups=[house.group])
        assert word(state) == "paused"
        assert "stop its consumers" in (state.message or "")
        assert not house.place(house.target)

    assert word(run(house, goal="cut_over", groups=[house.group])) == "proved"
    assert house.place(house.target)


def test_a_group_that_has_moved_is_not_set_back_by_another_run(house: MovingHouse) -> None:
    house.publish([f"{number}" for number in range(6)])
    house.consume(house.orders, 2)
    assert word(run(house, goal="cut_over", groups=[house.group])) == "proved"
    house.consume(house.target, 3)
    place = house.place(house.target)

    assert word(run(house, goal="cut_over", groups=[house.group])) == "proved"

    assert house.place(house.target) == place


def test_a_group_that_is_not_there_is_told(house: MovingHouse) -> None:
    house.publish(["a"])
    state = run(house, goal="cut_over", groups=["biling"])
    assert state.is_failed()
    assert "biling: no such consumer group has a place on" in (state.message or "")


def test_a_group_can_go_back_to_where_it_has_come(house: MovingHouse) -> None:
    house.publish([f"{number}" for number in range(6)])
    house.consume(house.orders, 2)
    assert word(run(house, goal="cut_over", groups=[house.group])) == "proved"
    house.consume(house.target, 3)

    state = run(house, goal="revert", groups=[house.group])

    assert word(state) == "reverted", state.message
    assert house.place(house.orders) == {0: 5}


def test_what_new_producers_publish_comes_to_those_that_have_stayed_and_groups_go_either_way(
    house: MovingHouse,
) -> None:
    house.publish(["old 0", "old 1"])
    assert word(run(house)) == "proved"
    house.publish_new(["new 2", "new 3"], first=2)

    state = run(house, goal="feed_back")

    assert word(state) == "proved", state.message
    assert "2 events copied" in (state.message or "")
    reader = house.registry.reader()
    notes = [reader.decode(message.value() or b"")["note"] for message in house.read(house.orders)]
    assert notes == ["old 0", "old 1", "new 2", "new 3"]

    house.consume(house.orders, 3)  # the group has stayed, and seen a new one
    state = run(house, goal="cut_over", groups=[house.group])
    assert word(state) == "proved", state.message
    assert [order["note"] for order in house.moved()] == notes  # nothing went in a circle
    new_reader = house.registry.reader(house.target)
    assert [new_reader.decode(value)["note"] for value in house.consume(house.target, 1)] == ["new 3"]


def test_producers_are_switched_to_the_target_and_back_by_runs_of_their_own(house: MovingHouse) -> None:
    house.publish(["a"])
    with EventProducer(house.group, house.config, topics=[house.orders]) as producer:
        producer.publish(house.orders, "k", {"id": 1, "note": "b"}).result(30)

        state = run(house, goal="switch_producers", partitions=1)  # there are two: they are copied in turns
        assert word(state) == "proved", state.message
        assert f"producers of {house.orders} publish to {house.target}" in (state.message or "")
        producer.publish(house.orders, "k", {"id": 2, "note": "!c"}).result(30)
        with pytest.raises(SwitchedError, match="--goal switch_back"):
            abandon(house.config, house.orders, house.target)
        assert {order["number"]: order["urgent"] for order in house.moved()} == {0: False, 1: False, 2: True}

        client = {"bootstrap.servers": house.bootstrap}
        forth = read_alias(client, house.orders)
        forgetful = Producer(client)
        forgetful.produce(ALIASES_TOPIC, None, house.orders.encode(), 0)
        assert forgetful.flush(10) == 0
        state = run(house, goal="switch_back")  # by the ledger's copy
        back = read_alias(client, house.orders)
        assert forth is not None
        assert back is not None
        assert back.earlier == forth.places != {}
        assert word(state) == "proved", state.message
        producer.publish(house.orders, "k", {"id": 3, "note": "d"}).result(30)

    reader = house.registry.reader()
    assert sorted(reader.decode(message.value() or b"")["id"] for message in house.read(house.orders)) == [0, 1, 2, 3]
    assert len(house.moved()) == 3


def test_what_a_switch_has_brought_that_was_killed_before_its_proof_is_proved_by_the_next_run(
    house: MovingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish(["a"])
    with Publishing(house, producers=1, pause=0.1) as publishing:
        with monkeypatch.context() as patch:
            patch.setattr(tasks.schema_backfill.switching, "prove_what_was_brought", die)
            state = run(house, goal="switch_producers")
        assert "may be STORING what they publish" in (state.message or "")
        killed = house.operation()
        assert (killed.status, killed.verdict) == ("failed", None)

        state = run(house, goal="switch_producers")
    assert word(state) == "proved", state.message
    assert "standby" in publishing.paths()
    assert (house.operation().evidence or {})["earlier"][killed.id] > 0
    found = by_key(house.read(house.target), house.registry.reader(house.target).decode)
    assert {key: found[key] for key in publishing.published} == publishing.published


def die(*_: object, **__: object) -> None:
    """Stand for the end of a process."""
    raise RuntimeError("it was killed")


def test_producers_are_not_switched_while_a_group_is_on_its_way_and_the_run_says_which(house: MovingHouse) -> None:
    house.publish(["a", "b"])
    assert word(run(house)) == "proved"
    house.consume(house.orders, 1)
    house.consume(house.target, 1)
    places = {0: (2, 2), 1: (0, 0)}
    rules = (house.file.parent / "rules.yaml").read_text()
    alias = Alias(house.orders, house.target, house.target, 1, 1, "{}", rules, "rules.yaml", places=places)
    write_alias({"bootstrap.servers": house.bootstrap}, alias)

    state = run(house, goal="switch_back")

    assert word(state) == "refused", state.message
    assert f"{house.group} (stopped; 1 behind in {house.orders}, partition 0)" in (state.message or "")
    assert f"--may-lag {house.group}" in (state.message or "")
    assert word(run(house, "plan", goal="switch_back", may_lag=[house.group])) == "planned"


def test_producers_that_were_never_switched_cannot_be_taken_back(house: MovingHouse) -> None:
    house.publish(["a"])
    assert word(run(house)) == "proved"
    state = run(house, "plan", goal="switch_back")
    assert state.is_failed()
    assert f"producers of {house.orders} were never switched to {house.target}" in (state.message or "")


def test_other_rules_are_refused_once_the_target_has_been_begun(house: MovingHouse) -> None:
    house.publish(["a"])
    assert word(run(house)) == "proved"

    state = run(house, rules=None)

    assert word(state) == "refused"
    assert "redrive backfill abandon" in (state.message or "")


def test_it_works_in_processes_as_well(house: MovingHouse) -> None:
    house.settings(processes=2)
    house.publish([f"{number}" for number in range(5_000)])

    state = run(house)

    assert word(state) == "proved", state.message
    assert [order["number"] for order in house.moved()] == list(range(5_000))


def test_a_topic_with_more_partitions_than_are_copied_at_a_time_is_followed_in_all_of_them(house: MovingHouse) -> None:
    house.publish(["a"])
    house.publish(["b"], 1, first=1)

    def then_one_more() -> None:
        wait_until(lambda: house.exists(house.target) and 1 in {m.partition() for m in house.read(house.target)}, 120)
        house.publish(["late"], 1, first=2)

    more = Thread(target=then_one_more)
    more.start()
    state = run(house, partitions=1, follow_for=0.4)
    more.join()

    assert word(state) == "proved", state.message
    assert [order["note"] for order in house.moved(1)] == ["b", "late"]
    assert house.operation().counts["copied"] == 3


def test_nothing_goes_back_without_the_rules_that_it_came_by(house: MovingHouse) -> None:
    house.publish(["a"])
    assert word(run(house)) == "proved"
    house.publish_new(["new"], first=1)

    state = run(house, goal="feed_back", rules=None)

    assert state.is_failed()
    assert "by other rules" in (state.message or "")
    assert len(house.read(house.orders)) == 1
