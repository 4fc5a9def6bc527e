"""What the one line says that people see while partitions move."""

from __future__ import annotations

from redrive.partitions.outcome import Progress
from redrive.partitions.progress import Step
from tasks.moves_live import moves_line


def line(waiting_for: str = "", slowed_by: str = "") -> str:
    steps = {Step.DONE: 1, Step.IN_FLIGHT: 1}
    return moves_line(Progress(2, steps, 1_000_000, 3_000_000, 1e5, 20.0, waiting_for, slowed_by))


def test_it_says_how_far_it_is_and_how_long_it_takes_or_else_what_is_in_its_way() -> None:
    assert line() == "1 of 2 moves done, 1.0 MB of 3.0 MB; 20 s left"
    assert line(slowed_by="group a is 9 events behind (limit 5)").endswith(
        "; slowed down: group a is 9 events behind (limit 5)"
    )
    assert line("broker 4 is down", "too much").endswith("; waiting: broker 4 is down")
