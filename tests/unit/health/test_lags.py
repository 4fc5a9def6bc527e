"""How many groups are asked about."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from redrive.health import lags
from redrive.pump import group_admin
from redrive.pump.group_admin import GroupAdmin


class Admin:
    """Knows three groups, each of which has committed one offset."""

    def __init__(self, errors: Sequence[KafkaError] = ()) -> None:
        self.errors = errors

    def list_consumer_groups(self, **_: Any) -> Future[Any]:
        valid = [SimpleNamespace(group_id=name) for name in ("c", "a", "b")]
        return answered(SimpleNamespace(valid=valid, errors=self.errors))

    def list_consumer_group_offsets(self, groups: list[Any], **_: Any) -> dict[str, Future[Any]]:
        offsets = [TopicPartition("orders", 0, 40)]
        return {group.group_id: answered(SimpleNamespace(topic_partitions=offsets)) for group in groups}


def answered(with_: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(with_)
    return future


def groups_of(monkeypatch: pytest.MonkeyPatch, admin: Admin) -> GroupAdmin:
    monkeypatch.setattr(group_admin, "admin_client", lambda _: admin)
    return GroupAdmin({})


@pytest.mark.parametrize(("most", "asked", "unasked"), [(2, ["a", "b"], 1), (3, ["a", "b", "c"], 0)])
def test_those_that_are_not_asked_about_are_counted(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: list[str], unasked: int
) -> None:
    monkeypatch.setattr(lags, "MOST_GROUPS", most)
    found, others = lags._committed_by_group(groups_of(monkeypatch, Admin()), 1.0)
    assert (sorted(found), others) == (asked, unasked)
    assert found["a"] == {("orders", 0): 40}


def test_a_broker_that_does_not_name_its_groups_makes_lags_unknown_instead_of_low(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = KafkaError(KafkaError._TIMED_OUT, "broker 2 does not answer")
    with pytest.raises(KafkaException, match="broker 2 does not answer"):
        lags._committed_by_group(groups_of(monkeypatch, Admin([away])), 1.0)
