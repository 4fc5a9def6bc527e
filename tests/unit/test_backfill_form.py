"""What the run form of `schema-backfill` does not take, since it would do nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flows.schema_backfill import Backfill


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"goal": "revert", "protect": {"group": "billing"}}, "protect: revert copies nothing"),
        ({"goal": "switch_producers", "groups": ["billing"]}, "groups: only cut_over and revert"),
        ({"goal": "copy", "may_lag": ["billing"]}, "may_lag: only who switches producers"),
        ({"goal": "switch_producers", "verify": "new"}, "verify: before anybody moves"),
    ],
)
def test_an_option_that_would_do_nothing_or_too_little_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Backfill(source="orders", target="orders.v2", **given)
    assert Backfill(source="orders", target="orders.v2", goal="switch_back", may_lag=["billing"]).protect is None
