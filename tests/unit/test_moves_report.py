"""How moves ended, as people and the ledger are told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import partition_rebalance
from redrive.errors import ThrottleTooLowError, UnavailableError
from redrive.partitions.layout import Move
from redrive.partitions.outcome import Outcome, Result
from redrive.partitions.progress import Step
from redrive.partitions.removal import Drained, Removal
from redrive.partitions.state import Key
from redrive.partitions.waves import Limits
from tasks.operations import Run
from tasks.partition_rebalance import report as partitions_report
from tasks.partition_rebalance.report import NOT_EMPTY, NOT_TOGETHER, NOT_WITHOUT_VOTE, Ending, cancelled, cut_off
from tasks.partition_rebalance.steps import Decided, Moved, Terms

MB = 1_000_000
MOVES = [Move("orders", number, (1, 2), (3, 2), 10 * MB) for number in range(3)]
HOLDS = Drained((Removal(3, (("late", 0),), 1),), "")


def result(*steps: Step, **more: Any) -> Result:
    outcomes: dict[Key, Outcome] = {("orders", number): Outcome(step) for number, step in enumerate(steps)}
    return Result(outcomes, **more)


ALL_DONE = result(Step.DONE, Step.DONE, Step.DONE)


def moved(there: Result, back: Result | None = None) -> Moved:
    live: Any = SimpleNamespace(pace=SimpleNamespace(changes=[]), speeds=[])
    return Moved(there, back, live, None, None)


def ending(there: Result, back: Result | None = None, *, left: list[Move] = MOVES, **more: Any) -> Ending:
    return Ending(Decided(MOVES, left, "digest", []), moved(there, back), 7.0, "", **more)


def test_a_drain_is_proved_only_if_its_broker_is_safe_to_remove() -> None:
    safe = ending(ALL_DONE, drained=Drained((Removal(3, (), 0),), ""))
    assert (safe.word, safe.status) == ("proved", "done")
    assert safe.headline.endswith("; broker 3 is safe to remove")
    unsafe = ending(ALL_DONE, drained=HOLDS)
    assert (unsafe.word, unsafe.status) == ("failed", "failed")
    assert unsafe.headline == f"{NOT_EMPTY}; {HOLDS}"
    assert str(HOLDS) == "broker 3 is not safe to remove: it holds late/0, and leads 1 of them"


VOTES = Drained((Removal(3, (), 0, voter=True),), "")
APART = Drained((Removal(5, (), 0), Removal(6, (), 0)), "Amazon MSK takes away as many brokers in each zone")


@pytest.mark.parametrize(
    ("drained", "finding", "told"),
    [
        (VOTES, NOT_WITHOUT_VOTE, "broker 3 is not safe to remove: it is a controller as well"),
        (APART, NOT_TOGETHER, "broker 5 is empty; broker 6 is empty; Amazon MSK takes away as many brokers in each"),
    ],
    ids=["votes", "one zone only"],
)
def test_a_drain_is_not_proved_if_what_is_empty_may_not_be_taken_away(
    monkeypatch: pytest.MonkeyPatch, drained: Drained, finding: str, told: str
) -> None:
    moved_all = ending(ALL_DONE, drained=drained)
    assert (moved_all.word, moved_all.status, moved_all.findings) == ("failed", "failed", [finding])
    assert moved_all.headline.startswith(f"{finding}; {told}")
    assert moved_all.evidence()["safe_to_remove"] == []
    ended: list[tuple[Any, ...]] = []
    monkeypatch.setattr(partitions_report, "close", lambda _, word, message, *__: f"{word}: {message}")
    run: Any = SimpleNamespace(finish=lambda *given, **_: ended.append(given))
    state = partitions_report.finish_early(run, "nothing to move", [], drained)
    assert state.is_failed()
    assert ended[0][:2] == ("failed", "failed")
    assert ended[0][3]["findings"] == [finding]


def test_what_runs_before_owe_is_told_and_does_not_count() -> None:
    told = ending(result(Step.DONE, Step.DONE, Step.DONE, owed_before=("broker 4 does not answer",)))
    assert told.word == "proved"
    run: Any = SimpleNamespace(who="anna", id="a-run", url="")
    assert "| owed still by runs before | broker 4 does not answer |" in partitions_report.report_text(run, told)
    own = ending(result(Step.DONE, Step.DONE, Step.DONE, owed=("broker 4 does not answer",)))
    assert (own.word, own.findings) == ("failed", ["still owed: broker 4 does not answer"])


def test_bytes_are_those_that_this_run_has_copied_there_and_back() -> None:
    assert ending(ALL_DONE).counts["bytes"] == 30 * MB
    assert ending(ALL_DONE, left=MOVES[2:]).counts["bytes"] == 10 * MB  # another run has done the rest
    # One had come to its end; of the two others one was under way, and one had not begun.
    cut = result(Step.DONE, Step.PENDING, Step.PENDING, stopped="nothing has moved for 5 s")
    back = ending(cut, ALL_DONE)
    assert (back.word, back.counts["bytes"]) == ("rolled back", 20 * MB)
    assert ending(result(Step.PENDING, Step.PENDING, Step.PENDING, stopped="x"), ALL_DONE).counts["bytes"] == 0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the last state says; there is no server to send it to."""
    said: list[str] = []

    def close(_: Run, word: str, words: str, *__: object) -> str:
        said.append(f"{word}: {words}")
        return said[-1]

    monkeypatch.setattr(partitions_report, "close", close)
    monkeypatch.setattr("tasks.ending.close", close)
    return said


class Finishing:
    """A run that keeps what is entered at its end."""

    def __init__(self, *, back: bool = False) -> None:
        self.back = back
        self.has_moved = lambda: True

    def goes_back(self) -> bool:
        return self.back

    def finish(self, status: str, verdict: str | None = None, counts: Any = None, evidence: Any = None) -> None:
        self.status, self.counts, self.evidence = status, counts, evidence


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (None, "was not seen to be taken back: it may go on, throttled"),
        (result(Step.DONE, Step.PENDING, Step.PENDING, stopped="asked to stop"), "what was under way was taken back"),
        (
            result(Step.DONE, Step.IN_FLIGHT, Step.PENDING, ongoing=(("orders", 1),)),
            "1 partition could not be taken back in time, and may go on; 1 pending, 1 in flight, 1 done",
        ),
        (result(Step.DONE, Step.PENDING, Step.PENDING, owed=("broker 3 is silent",)), "owed still: broker 3 is silent"),
    ],
)
def test_a_cancel_says_what_has_come_of_the_moves_and_nothing_that_was_not_seen(
    told: list[str], what: Result | None, words: str
) -> None:
    run = Finishing()
    cancelled(cast(Run, run), Decided(MOVES, MOVES, "", []), moved(what) if what else None)
    assert words in told[0]
    clean = told[0].startswith("cancelled: what was under way was taken back;")
    assert clean == (words == "what was under way was taken back")
    assert ("not_done" in run.evidence) == (what is not None)
    assert run.status == "cancelled"


CUT_SHORT = result(Step.DONE, Step.PENDING, Step.PENDING, stopped="a limit is exceeded")


def test_a_run_that_was_cut_off_on_its_way_back_says_how_far_it_had_come_and_how_to_go_on_back(told: list[str]) -> None:
    run, error = Finishing(back=True), UnavailableError("cluster east", "no answer")
    cut_off(cast(Run, run), Decided(MOVES, MOVES, "", []), error, moved(CUT_SHORT))
    assert "The moves had ended, 2 pending, 1 done, and were being taken back. If anything" in told[0]
    assert "To go on with the way back: goal roll_back. That" in told[0]
    assert (run.status, run.counts) == ("paused", {"moves": 3, "done": 1, "bytes": 10 * MB})
    cut_off(cast(Run, run), Decided(MOVES, MOVES, "", []), error, None)
    assert "To go on with the way back: goal roll_back. That" in told[1]


@pytest.mark.parametrize("has_moved", [True, False])
def test_a_throttle_that_is_too_low_refuses_a_run_only_as_long_as_it_has_moved_nothing(
    told: list[str], monkeypatch: pytest.MonkeyPatch, has_moved: bool
) -> None:
    def too_low(*_: object, **__: object) -> Moved:
        raise ThrottleTooLowError(5, 1, 10.0, 12)

    monkeypatch.setattr(partition_rebalance, "move_partitions", too_low)
    run = Finishing()
    run.has_moved = lambda: has_moved
    work: Any = SimpleNamespace(run=run, moved=moved(CUT_SHORT))
    decided, terms = Decided(MOVES, MOVES, "", []), Terms(5.0, Limits(), roll_back=True)
    if not has_moved:
        with pytest.raises(ThrottleTooLowError):
            partition_rebalance.carry_out(work, decided, terms, "")
        return
    state = partition_rebalance.carry_out(work, decided, terms, "")
    assert state.is_failed()
    assert (run.status, run.counts["done"]) == ("paused", 1)
    assert "The moves have ended before: 2 pending, 1 done. To go on: goal go_on" in told[0]


def test_a_cancel_on_the_way_back_says_how_to_go_on_back(told: list[str]) -> None:
    run = Finishing(back=True)
    stopped = result(Step.DONE, Step.DONE, Step.IN_FLIGHT, ongoing=(("orders", 2),), stopped="asked to stop")
    cancelled(cast(Run, run), Decided(MOVES, MOVES, "", []), moved(CUT_SHORT, stopped))
    assert "1 partition could not be taken back in time" in told[0]
    cancelled(cast(Run, run), Decided(MOVES, MOVES, "", []), moved(CUT_SHORT))
    assert "was not seen to be taken back" in told[1]
    assert all(words.endswith("To go on with the way back: goal roll_back") for words in told)


def test_a_run_that_was_cut_off_after_its_moves_says_so(told: list[str]) -> None:
    run = Finishing()
    decided, error = Decided(MOVES, MOVES, "", []), UnavailableError("cluster east", "no answer")
    cut_off(cast(Run, run), decided, error, moved(ALL_DONE))
    assert "The moves have ended before: 3 done." in told[0]
    assert run.evidence["not_done"] == {}
    cut_off(cast(Run, run), decided, error, None)
    assert "If anything is under way, it goes on" in told[1]
    cut_off(cast(Run, run), replace(decided, back=True), error, None)
    assert "To go on with the way back: goal roll_back." in told[2]
