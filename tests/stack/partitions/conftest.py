"""The four brokers that partitions are moved between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.local.stack import Stack
from tests.stack.partitions.lab import Lab


@pytest.fixture
def lab(fault_stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr("redrive.partitions.execution.SAMPLE", 1.0)
    if len(fault_stack.brokers) == 3:
        fault_stack.add_broker()
    lab = Lab(fault_stack, tmp_path)
    yield lab
    lab.close()
