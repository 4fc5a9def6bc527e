"""How many groups are asked about."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from redrive.health import lags


class Admin:
    """Knows three groups, each of which has committed one offset."""

    def list_consumer_groups(self, **_: Any) -> Future[Any]:
        return answered(SimpleNamespace(valid=[SimpleNamespace(group_id=name) for name in ("c", "a", "b")]))

    def list_consumer_group_offsets(self, groups: list[Any], **_: Any) -> dict[str, Future[Any]]:
        offsets = [TopicPartition("orders", 0, 40)]
        return {group.group_id: answered(SimpleNamespace(topic_partitions=offsets)) for group in groups}


def answered(with_: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(with_)
    return future


@pytest.mark.parametrize(("most", "asked", "unasked"), [(2, ["a", "b"], 1), (3, ["a", "b", "c"], 0)])
def test_those_that_are_not_asked_about_are_counted(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: list[str], unasked: int
) -> None:
    monkeypatch.setattr(lags, "MOST_GROUPS", most)
    groups: Any = SimpleNamespace(client=Admin(), asking=nullcontext)
    found, others = lags._committed_by_group(groups, 1.0)
    assert (sorted(found), others) == (asked, unasked)
    assert found["a"] == {("orders", 0): 40}
