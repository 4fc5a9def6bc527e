"""While events are pumped, Python looks for cycles less often; afterwards as often as before."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest

from redrive.pump.collecting import collecting_seldom


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_it_is_as_before_when_the_last_one_leaves_whatever_they_end_with() -> None:
    gc.set_threshold(700, 10, 10)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collecting_seldom():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with contextlib.suppress(ValueError), collecting_seldom():
        thread.start()
        assert entered.wait(10)
        assert gc.get_threshold()[0] > 700
        raise ValueError
    assert gc.get_threshold()[0] > 700
    leave.set()
    thread.join()
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("set_by_the_program", [0, 1_000_000])
def test_a_program_that_collects_more_seldom_or_never_stays_so(set_by_the_program: int) -> None:
    gc.set_threshold(set_by_the_program, 10, 10)
    with collecting_seldom():
        assert gc.get_threshold()[0] == set_by_the_program
    assert gc.get_threshold()[0] == set_by_the_program
