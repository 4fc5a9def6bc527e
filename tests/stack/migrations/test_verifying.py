"""What a comparison of both topics finds, when somebody has touched the target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import Producer

from redrive.events import Event
from redrive.migrations.verifying import Compacts
from redrive.pump.model import Rejected
from tests.stack.migrations.lab import Lab, capitals


@pytest.fixture
def lab(stack):
    return Lab.make(stack.endpoints.bootstrap)


def test_a_value_that_differs_is_found(lab):
    def wrong(event: Event):
        made = capitals(event)
        return (
            Event(event.id, event.topic, event.key, b"x", event.headers, event.timestamp, 0, event.origin)
            if (event.value == b"c")
            else made
        )

    lab.send(["a", "b", "c"])
    assert lab.verify(lab.copy(became=wrong)).findings == [f"{lab.source}/0@2: its value differs"]


def test_an_event_that_is_missing_is_found(lab):
    lab.send(["a", "b"])
    result = lab.copy()
    lab.send(["c"])
    result = replace(result, next=3)
    [finding] = lab.verify(result).findings
    assert finding == f"{lab.source}/0@2 is neither in {lab.target} nor in redrive.parked"


def test_an_event_that_is_there_twice_or_never_was_is_found(lab):
    lab.send(["a", "b"])
    lab.send(["given up"], transaction=False)
    result = lab.copy()
    producer = Producer(lab.client)
    for offset in (1, 2):
        origin = (lab.unit().origins % offset).encode()
        producer.produce(lab.target, b"x", b"k", 0, headers=[("redrive-operation", b"op"), ("redrive-source", origin)])
    producer.flush()
    findings = lab.verify(result).findings
    assert f"{lab.source}/0@1 again, or too late" in findings[0]
    assert findings[1] == f"{lab.target} has an event that says it is {lab.source}/0@2, which is not there"


def test_an_event_of_another_origin_is_told_by_its_place(lab):
    lab.send(["a", "b"])
    result = lab.copy()
    assert lab.verify(result).foreign is None
    lab.send(["native"], topic=lab.target)
    checked = lab.verify(result)
    assert (checked.findings, checked.foreign) == ([], 3)


def test_what_compaction_has_taken_is_not_missing_if_its_key_has_a_newer_event(lab):
    lab.send([f"{number}" for number in range(14)])  # seven keys, each twice
    result = lab.copy(became=_without_the_old_ones)
    checked = lab.verify(result, compacts=Compacts(target=True), parked=frozenset())
    assert (checked.findings, checked.found, checked.compacted) == ([], 7, 7)
    assert len(lab.verify(result, parked=frozenset()).findings) == 7


def test_what_the_target_s_retention_has_deleted_is_not_missing(lab):
    lab.send(["a", "b", "c"])
    result = lab.copy()
    lab.delete_before(lab.target, 2)
    checked = lab.verify(result)
    assert (checked.findings, checked.expired, checked.found) == ([], 2, 1)


def test_a_deletion_that_was_not_copied_is_missed_if_the_target_still_has_the_key(lab):
    lab.send(["a"])
    result = lab.copy()
    lab.send([None])  # of the same key
    assert lab.verify(replace(result, next=2), compacts=Compacts(target=True)).findings == [
        f"{lab.source}/0@1 is neither in {lab.target} nor in redrive.parked"
    ]


def test_what_a_migration_that_was_given_up_has_parked_is_no_excuse_for_another(lab):
    lab.send(["a", "bad"])
    result = lab.copy()
    assert (lab.verify(result).parked, lab.verify(result).findings) == (1, [])
    assert lab.verify(result, migration="another").findings == [
        f"{lab.source}/0@1 is neither in {lab.target} nor in redrive.parked"
    ]


def _without_the_old_ones(event: Event):
    return capitals(event) if int(event.value or b"0") >= 7 else Rejected("compacted")
