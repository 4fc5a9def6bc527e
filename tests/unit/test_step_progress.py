"""How far a long step is: a report that can't be made must not hold the step up."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks import step_progress
from tasks.operations import Run
from tasks.step_progress import StepProgress


def test_after_one_report_that_fails_no_other_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def away(**_: Any) -> Any:
        tried.append(1)
        raise TimeoutError("Prefect's server does not answer")

    monkeypatch.setattr(step_progress, "get_client", away)
    monkeypatch.setattr(step_progress, "get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr(step_progress, "AFTER", 0)
    monkeypatch.setattr(step_progress, "EVERY", 0)
    with StepProgress(cast(Run, SimpleNamespace(job="a-job", id="1")), "reading", "event") as progress:
        for done in range(5):
            progress(done, 5)
    assert len(tried) == 1


def test_a_step_that_is_done_at_once_asks_prefect_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_progress, "get_client", lambda **_: pytest.fail("Prefect was asked"))
    monkeypatch.setattr(step_progress, "get_run_logger", lambda: logging.getLogger("test"))
    with StepProgress(cast(Run, SimpleNamespace(job="a-job", id="1")), "reading", "event") as progress:
        progress(5, 5)
