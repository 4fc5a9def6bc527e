"""Who may approve a plan."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from tasks.approval import RefusedByPersonError, approve
from tasks.operations import NOBODY, Run


def test_where_two_people_are_asked_for_a_run_that_nobody_is_named_for_is_refused_before_it_asks() -> None:
    """The Run button of the open-source server leaves no name, and any name that is typed would be another one."""
    run = cast(Run, SimpleNamespace(who=NOBODY, job="dlq-correction"))
    with pytest.raises(RefusedByPersonError, match="start it with `redrive run dlq-correction`"):
        approve(run, "digest", "summary", four_eyes=True)
