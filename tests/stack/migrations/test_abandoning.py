"""A backfill is given up: what it has filled is deleted, unless somebody would miss it."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Timer

import msgspec
import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner, Result

from deployments.local.stack import Stack
from redrive.aliases.alias import write_alias
from redrive.aliases.turning import alias_forth
from redrive.cli import app
from redrive.errors import FedBackError, GroupInUseError, OtherMigrationError, OthersEventsError, SwitchedBackError
from redrive.ledger import Ledger
from redrive.migrations import abandoning
from redrive.migrations.abandoning import abandon
from redrive.migrations.survey import copied_so_far, survey
from redrive.migrations.unit import Unit
from redrive.pump.cursors import read_cursors
from tests.stack.migrations.live import following, migration
from tests.stack.moving_house import MovingHouse
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def empty(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHouse:
    """One whose target has not been filled."""
    house = MovingHouse(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(house.file))
    house.publish(["a", "b"])
    return house


@pytest.fixture
def house(empty: MovingHouse) -> MovingHouse:
    """One whose target has been filled."""
    fill(empty)
    return empty


def fill(house: MovingHouse) -> None:
    with following(house.config, migration(house)):
        pass


def client(house: MovingHouse) -> dict[str, str]:
    return {"bootstrap.servers": house.bootstrap}


def copied(house: MovingHouse) -> dict[int, int]:
    return copied_so_far(client(house), "one", house.orders, house.target)


def command(house: MovingHouse, *options: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["backfill", "abandon", house.orders, house.target, *options], input=answer)


def test_the_target_is_deleted_with_its_cursors_and_can_be_filled_anew(house: MovingHouse) -> None:
    done = command(house, answer="y\n")
    assert done.exit_code == 0, done.output
    assert re.search(rf"Delete topic {house.target} on one, with [23] offsets\?", done.output)  # with what ends them
    wait_until(lambda: not house.exists(house.target))
    assert copied(house) == {}
    assert house.operation().status == "done"
    fill(house)
    assert [order["note"] for order in house.moved()] == ["a", "b"]


def test_nothing_is_deleted_if_the_answer_is_no(house: MovingHouse) -> None:
    assert command(house, answer="n\n").exit_code == 1
    assert copied(house) == {0: 2}


def test_while_a_run_works_at_the_target_the_command_is_refused(house: MovingHouse) -> None:
    resource = f"one/{house.target}"
    with Ledger.open(house.config.ledger_url()) as ledger:
        run = ledger.begin("schema-backfill", "run", cluster="one", resources=[resource], who="me", parameters={})
        ledger.claim([resource], run)
        with run.keep_alive():
            refused = command(house, "--yes")
    assert refused.exit_code == 1
    assert "is held by" in refused.output + str(refused.exception)
    assert copied(house) == {0: 2}


def test_events_that_are_nowhere_else_are_not_deleted(house: MovingHouse) -> None:
    house.publish_new(["new"], first=2)
    with pytest.raises(OthersEventsError, match=r"partition 0, offset [23]"):
        abandon(house.config, house.orders, house.target)
    assert copied(house) == {0: 2}


def test_a_topic_that_no_backfill_has_filled_is_not_deleted(empty: MovingHouse) -> None:
    migration(empty)
    empty.publish_new(["new"])
    with pytest.raises(OthersEventsError, match="partition 0, offset 0"):
        abandon(empty.config, empty.orders, empty.target)
    assert len(empty.moved()) == 1


def test_what_is_written_behind_an_open_transaction_is_seen_before_anything_is_deleted(house: MovingHouse) -> None:
    producer = Producer(client(house) | {"transactional.id": house.target})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(house.target, b"new", b"k", 0)
    producer.flush()
    commit = Timer(3, lambda: producer.commit_transaction(30))
    commit.start()
    with pytest.raises(OthersEventsError):
        abandon(house.config, house.orders, house.target)
    commit.join()


def test_a_topic_that_is_consumed_is_not_deleted(house: MovingHouse) -> None:
    with house.consuming(house.target), pytest.raises(GroupInUseError):
        abandon(house.config, house.orders, house.target)
    assert copied(house) == {0: 2}


def test_what_was_fed_back_keeps_a_backfill_from_being_given_up(house: MovingHouse) -> None:
    house.publish_new(["new"], first=2)
    with following(house.config, migration(house, "down")):
        pass
    with pytest.raises(FedBackError):
        abandon(house.config, house.orders, house.target)
    assert len(house.read(house.orders)) == 3


def test_a_look_for_what_to_feed_back_that_found_nothing_is_forgotten_as_well(house: MovingHouse) -> None:
    with following(house.config, migration(house, "down")):
        pass
    back = Unit("one", house.target, house.orders, 0).name
    assert back in read_cursors(client(house), [back])
    assert abandon(house.config, house.orders, house.target) == 1
    wait_until(lambda: not house.exists(house.target))
    assert read_cursors(client(house), [back]) == {}


def test_a_topic_that_producers_were_switched_to_and_back_is_not_given_up_and_it_says_why(house: MovingHouse) -> None:
    forth = alias_forth(house.config, migration(house))
    back = msgspec.structs.replace(forth, current=house.orders, places={0: (2, 2), 1: (0, 0)})
    write_alias(client(house), back)
    with pytest.raises(SwitchedBackError, match=r"were switched to .* and back"):
        abandon(house.config, house.orders, house.target)
    assert copied(house) == {0: 2}
    write_alias(client(house), msgspec.structs.replace(back, places={}, unmoved=True))  # consumers had not followed
    assert abandon(house.config, house.orders, house.target) == 1


def test_giving_up_that_was_cut_off_is_not_filled_upon_and_can_be_ended(
    house: MovingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(abandoning.ClusterAdmin, "delete_topic", die)
    with pytest.raises(KeyboardInterrupt):
        abandon(house.config, house.orders, house.target)
    monkeypatch.undo()
    assert (copied(house), house.exists(house.target)) == ({}, True)
    with pytest.raises(OtherMigrationError):
        survey(client(house), "one", house.orders, house.target, "digest")

    assert abandon(house.config, house.orders, house.target) == 0
    wait_until(lambda: not house.exists(house.target))
