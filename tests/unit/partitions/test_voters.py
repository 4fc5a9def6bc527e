"""Which brokers have a vote among the controllers, as far as a cluster tells."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError

from redrive.errors import RefusedByClusterError, UnavailableError
from redrive.partitions.reader import PartitionReader


def reader(answer: Callable[[], Any]) -> PartitionReader:
    reader = PartitionReader.__new__(PartitionReader)
    reader._connection = SimpleNamespace(ask=lambda *_, **__: answer())  # type: ignore[assignment]
    return reader


def refusing(error: KafkaError) -> Callable[[], Any]:
    def answer() -> Any:
        raise RefusedByClusterError("cluster east", "asking for the controllers", "no") from error

    return answer


def voting(*voters: int) -> Callable[[], Any]:
    quorum = {"leader_id": 1, "current_voters": [{"replica_id": id_} for id_ in voters]}
    return lambda: {"topics": [{"partitions": [quorum]}]}


def test_a_cluster_names_those_that_vote() -> None:
    assert reader(voting(1, 2, 3)).voters() == {1, 2, 3}


def test_a_cluster_without_kraft_has_none() -> None:
    assert reader(refusing(IncompatibleBrokerVersion("DescribeQuorum"))).voters() == frozenset()


@pytest.mark.parametrize("answer", [refusing(ClusterAuthorizationFailedError()), voting()], ids=["refused", "unsaid"])
def test_what_a_cluster_does_not_tell_is_not_taken_for_no_vote(answer: Callable[[], Any]) -> None:
    assert reader(answer).voters() is None


def test_a_cluster_that_does_not_answer_is_unavailable() -> None:
    def answer() -> Any:
        raise UnavailableError("cluster east", "no answer")

    with pytest.raises(UnavailableError):
        reader(answer).voters()
