"""What unit tests of several areas start from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from redrive.pump import readback
from tests.unit.mock_kafka import PARTITIONS, MockKafka


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that is empty, and an environment without settings."""
    for name in os.environ:
        if name.startswith("REDRIVE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mock_kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockKafka]:
    """librdkafka's own mock cluster."""
    # It has no controller, which is who describes topics.
    monkeypatch.setattr(readback, "_partition_count", lambda *_: PARTITIONS)
    cluster = MockKafka()
    yield cluster
    cluster.close()
