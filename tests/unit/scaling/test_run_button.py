"""With ``four_eyes``, what is begun by the Run button, of which nobody is named, may only plan."""

from __future__ import annotations

from typing import Any

import pytest

from flows import broker_scaling as flow
from tasks.operations import NOBODY
from tests.unit.scaling.on_paper import SCALE, Paper, runs

PLAN = SCALE.model_copy(update={"mode": "plan"})
FOUR_EYES = "[rebalancing]\nfour_eyes = true\n"


@pytest.fixture
def pressed(town: Paper) -> Paper:
    town.settings(more=FOUR_EYES)
    town.who = NOBODY
    return town


@pytest.mark.parametrize("there", [3, 4], ids=["add", "fill"])
def test_a_plan_says_what_would_be_done_whoever_has_asked(pressed: Paper, there: int) -> None:
    pressed.scale_by_hand(there)
    assert runs(pressed, scale=PLAN).startswith("planned: ")
    assert pressed.orders == []


def test_a_run_is_refused_before_anything_is_measured_and_says_which_command_does_it(
    pressed: Paper, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Any] = []
    monkeypatch.setattr(flow, "measure_load", lambda *given: measured.append(given))
    told = runs(pressed)
    assert told.startswith("refused: ")
    assert "`redrive run broker-scaling --mode run --cluster yard`" in told
    assert (measured, pressed.orders, pressed.growth) == ([], [], None)


def test_whoever_is_named_may_begin_it(pressed: Paper) -> None:
    pressed.who = "anna"
    assert runs(pressed) == "proved"
    assert pressed.orders == [4]
