"""Copying a partition: each event once, in order, as the migration makes it; stopped, gone on with, followed."""

from __future__ import annotations

import secrets
import threading

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from redrive.errors import OtherMigrationError, PartitionsChangedError, StoppedError, TopicCutError
from redrive.migrations import ends as ends_of_copies
from redrive.migrations.ends import Ends
from redrive.migrations.survey import survey
from redrive.pump.governor import Governor
from redrive.pump.readback import end_offsets
from tests.stack.migrations.lab import MIGRATION, Lab
from tests.stack.platform import wait_until


@pytest.fixture
def lab(stack):
    return Lab.make(stack.endpoints.bootstrap)


def test_each_event_arrives_once_in_order_with_its_key_time_and_headers(lab):
    lab.send(f"plain {number}" for number in range(3000))
    lab.send((f"committed {number}" for number in range(500)), transaction=True)
    lab.send((f"given up {number}" for number in range(500)), transaction=False)
    lab.send(["last", None])
    result = lab.copy()
    copies, originals = lab.read(lab.target), lab.read(lab.source)
    assert result.outcome.published == len(copies) == len(originals) == 3502
    assert [copy.value() for copy in copies] == [(o.value() and o.value().upper()) for o in originals]
    for copy, original in zip(copies, originals, strict=True):
        assert (copy.key(), copy.timestamp()) == (original.key(), original.timestamp())
        assert copy.headers()[:-2] == original.headers()
    assert result.next == end_offsets(lab.client, lab.source)[0]
    checked = lab.verify(result)
    assert (checked.findings, checked.events, checked.found, checked.compared) == ([], 3502, 3502, 3502)


def test_each_partition_keeps_its_number(lab):
    lab.send(["a"], 0)
    lab.send(["b"], 1)
    lab.copy(1)
    assert [message.value() for message in lab.read(lab.target, 1)] == [b"B"]
    assert lab.read(lab.target, 0) == []


def test_what_cannot_be_migrated_is_parked_and_the_rest_goes_on(lab):
    lab.send(["a", "bad", "c"])
    result = lab.copy()
    assert [message.value() for message in lab.read(lab.target)] == [b"A", b"C"]
    assert result.outcome.parked == {"it is bad": 1}
    checked = lab.verify(result)
    assert (checked.findings, checked.found, checked.parked) == ([], 2, 1)


def test_a_later_run_goes_on_where_the_last_one_has_stopped(lab):
    lab.send(["a", "b"])
    lab.copy()
    lab.send(["c"])
    result = lab.copy(operation="op-2")
    assert (result.outcome.read, result.next) == (1, 3)
    assert [message.value() for message in lab.read(lab.target)] == [b"A", b"B", b"C"]
    [standing, _] = survey(lab.client, "one", lab.source, lab.target, MIGRATION)
    assert (standing.next, standing.left) == (3, 0)


def test_a_run_that_is_stopped_leaves_a_clean_cursor(lab):
    lab.send(f"{number}" for number in range(20_000))
    governor = Governor(rate=5_000)
    threading.Timer(2, lambda: governor.stop("enough")).start()
    with pytest.raises(StoppedError):
        lab.copy(governor=governor)
    before = len(lab.read(lab.target))
    assert 0 < before < 20_000
    lab.copy()
    assert len(lab.read(lab.target)) == 20_000


def test_other_rules_cannot_go_on_with_the_same_target(lab):
    lab.send(["a"])
    lab.copy()
    with pytest.raises(OtherMigrationError, match="with other rules"):
        lab.copy(migration="small letters")
    with pytest.raises(OtherMigrationError):
        survey(lab.client, "one", lab.source, lab.target, "small letters")


def test_what_comes_while_it_follows_is_copied(lab):
    lab.send(["a"])
    ends = Ends(lab.client, lab.source, 2, follow=3600)
    done = threading.Thread(target=lambda: lab.copy(until=lambda: ends.of(0)))
    done.start()

    def there() -> list[bytes | None]:
        return [message.value() for message in lab.read(lab.target)]

    try:
        wait_until(lambda: there() == [b"A"])
        lab.send(["b"])
        wait_until(lambda: there() == [b"A", b"B"])
    finally:
        ends.stop()
        done.join()


def test_nothing_is_written_while_nothing_comes(lab):
    lab.send(["a"])
    ends = Ends(lab.client, lab.source, 2, follow=4)
    lab.copy(until=lambda: ends.of(0))
    # one event, and the end of its transaction
    assert end_offsets(lab.client, lab.target)[0] == 2


def test_a_source_that_gets_more_partitions_ends_the_copying(lab):
    ends = Ends(lab.client, lab.source, 1)
    with pytest.raises(PartitionsChangedError, match="has 2 partitions now"):
        lab.copy(until=lambda: ends.of(0))


def test_a_source_that_gets_more_partitions_in_mid_copy_ends_it(lab, monkeypatch):
    monkeypatch.setattr(ends_of_copies, "_LOOK_EVERY", 0.5)
    lab.send(["a"])
    ends = Ends(lab.client, lab.source, 2, follow=60)
    admin = AdminClient(lab.client)
    threading.Timer(1, admin.create_partitions, [[NewPartitions(lab.source, 3)]]).start()
    with pytest.raises(PartitionsChangedError, match="has 3 partitions now"):
        lab.copy(until=lambda: ends.of(0))


def test_what_retention_has_deleted_before_it_was_copied_is_said(lab):
    lab.send(f"{number}" for number in range(10))
    lab.copy(upto=3)
    lab.delete_before(lab.source, 7)
    result = lab.copy()
    assert [message.value() for message in lab.read(lab.target)] == [b"%d" % number for number in (0, 1, 2, 7, 8, 9)]
    assert result.outcome.skipped == {"gone": 4}
    assert lab.verify(result).findings == []


def test_a_source_that_was_made_anew_is_told_from_one_with_nothing_new(lab):
    lab.send(["a", "b", "c"])
    lab.copy()
    lab.make_anew(lab.source)
    lab.send(["other"])
    with pytest.raises(TopicCutError, match=r"ends at 1, and was read up to 3 before"):
        lab.copy(operation="op-2")


def test_too_many_events_that_brokers_refuse_stop_it_before_they_are_parked(lab):
    lab.send(["a"])
    lab.configure(lab.target, "max.message.bytes", "2000")
    lab.send([secrets.token_hex(2500)])  # nothing that compression makes smaller: brokers count what arrives
    refused: list[int] = []

    def stop(count: int) -> None:
        refused.append(count)
        raise StoppedError("too many")

    with pytest.raises(StoppedError):
        lab.copy(on_refused=stop)
    assert refused == [1]
    assert lab.verify(lab.copy()).parked == 1


def test_what_another_backfill_has_brought_from_the_target_does_not_go_back(lab):
    lab.send(["native"])
    lab.copy()
    back = Lab(lab.client, lab.target, lab.source)
    back.send(["new"])
    result = back.copy(became=lambda event: event)
    assert (result.outcome.published, result.outcome.skipped) == (1, {"came from the target": 1})
    again = lab.copy(operation="op-2")
    assert (again.outcome.published, again.outcome.skipped) == (0, {"came from the target": 1})
