"""Two topics that can't be source and target of a backfill, and what to do about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redrive.errors import ConfigError
from redrive.migrations import shadow
from redrive.migrations.shadow import look


def test_a_target_that_lacks_partitions_and_may_be_in_use_is_not_to_be_given_up_but_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics = {"orders": SimpleNamespace(partitions=3), "orders.v2": SimpleNamespace(partitions=2)}
    monkeypatch.setattr(shadow, "ClusterAdmin", lambda _: SimpleNamespace(topics=lambda: topics))
    config: Any = SimpleNamespace(
        topic=lambda _: SimpleNamespace(cluster="one", schema="orders.avsc"), cluster=lambda _: None
    )
    with pytest.raises(ConfigError, match="orders has 3; an event stays") as raised:
        look(config, "orders", "orders.v2")
    assert "begin another backfill, with a target of another name" in str(raised.value)
    assert "One that no group and no producer has moved to may be given up instead" in str(raised.value)
