"""What people see and what is logged while partitions move."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from redrive.partitions.outcome import Progress
from redrive.partitions.progress import Step
from tasks.partition_rebalance import live as moves_live
from tasks.partition_rebalance.live import MovesLive, moves_line
from tasks.partition_rebalance.pace import MovesPace

BEHIND = "consumer group billing is 9 events behind (limit 5)"


def progress(waiting_for: str = "", slowed_by: str = "") -> Progress:
    steps = {Step.DONE: 1, Step.IN_FLIGHT: 1}
    return Progress(2, steps, 1_000_000, 3_000_000, 1e5, 20.0, waiting_for, slowed_by)


def test_one_line_says_how_far_it_is_and_how_long_it_takes_or_else_what_is_in_its_way() -> None:
    assert moves_line(progress()) == "1 of 2 moves done, 1.0 MB of 3.0 MB; 20 s left"
    assert moves_line(progress(slowed_by=BEHIND)).endswith(f"; slowed down: {BEHIND}")
    assert moves_line(progress("broker 4 is down", BEHIND)).endswith("; waiting: broker 4 is down")


@pytest.fixture
def execution() -> SimpleNamespace:
    return SimpleNamespace(rate=10_000_000)


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def live(execution: SimpleNamespace, stop: threading.Event, monkeypatch: pytest.MonkeyPatch) -> MovesLive:
    """At 10 MB a second of the 50 that were asked for; there is no server to send it to."""
    monkeypatch.setattr(moves_live, "get_run_logger", lambda: logging.getLogger("moves"))
    monkeypatch.setattr(moves_live, "get_client", lambda **_: None)
    steer = MovesPace(cast(Any, None), "east", "1", 50)
    steer.steer(cast(Any, execution))
    return MovesLive(
        cast(Any, SimpleNamespace(job="partition-rebalance", id="1", flow_run="1")), steer, lambda: "", stop
    )


def test_the_live_page_says_what_slows_moves_down_and_to_which_rate(live: MovesLive) -> None:
    text = live.text(progress(slowed_by=BEHIND), 7.0)
    assert f"> **Slowed down:** {BEHIND}" in text
    assert "10 of 50 MB/s per broker, as limits allow" in text
    assert "Slowed down" not in live.text(progress(), 7.0)


def test_a_throttle_that_is_too_low_is_told_on_the_live_page_and_once_in_the_log(
    live: MovesLive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(moves_live, "EVERY", 0.0)
    told = replace(progress(), too_low="at 1 moves never end")
    assert "> **The throttle is too low:** at 1 moves never end" in live.text(told, 7.0)
    assert "too low" not in live.text(progress(), 7.0)
    for _ in range(2):
        live.report(told)
    assert [each.message for each in caplog.records].count("the throttle is too low: at 1 moves never end") == 1


def test_the_log_says_when_a_throttle_comes_down_and_when_it_is_as_before_and_nothing_between(
    live: MovesLive, execution: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(moves_live, "EVERY", 0.0)
    with caplog.at_level(logging.INFO, "moves"):
        for slowed_by in ("", BEHIND, BEHIND.replace("9", "8")):
            live.report(progress(slowed_by=slowed_by))
        execution.rate = 50_000_000
        for _ in range(2):
            live.report(progress())
    told = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert told == [
        f"throttle comes down to 10 of 50 MB/s per broker, as limits allow: {BEHIND}",
        "throttle is at 50 MB/s per broker again",
    ]


def test_moves_of_a_run_that_was_paused_in_prefect_s_ui_are_stopped(
    live: MovesLive, stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves_live, "EVERY", 0.0)
    live.report(progress())
    assert not stop.is_set()
    monkeypatch.setattr(moves_live, "was_paused", lambda: True)
    live.report(progress())
    assert stop.is_set()
