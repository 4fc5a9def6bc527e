"""What unit tests of several areas start from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from redrive.pump import readback
from tests.unit.mock_kafka import PARTITIONS, MockKafka


@pytest.fixture
def mock_kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockKafka]:
    """librdkafka's own mock cluster."""
    # It has no controller, which is who describes topics.
    monkeypatch.setattr(readback, "_partition_count", lambda *_: PARTITIONS)
    cluster = MockKafka()
    yield cluster
    cluster.close()
