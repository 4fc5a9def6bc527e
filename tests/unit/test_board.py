"""What a board says of units whose sources get more while a run works."""

from __future__ import annotations

from redrive.pump.pump import Progress
from tasks.board import Board


def read(events: int) -> Progress:
    return Progress(events, events, 0, 0, 0.0, None, "", 0.0)


def test_what_is_left_is_what_waits_now_and_not_what_waited_at_first() -> None:
    board = Board({"a": 10, "b": 5})
    board.moved("a", read(10))
    board.waits("a", 30)
    assert board.totals().total == 45
    board.moved("a", read(40))
    board.waits("a", 0)
    assert (board.totals().total, board.totals().read) == (45, 40)
