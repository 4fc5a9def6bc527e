"""Two operations never work on the same topic at once, and a dead one never blocks the next for long."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from redrive.errors import FencedError, HeldError
from redrive.ledger import Ledger, Operation

TOPIC = "local/flights.departed"


def begin(ledger: Ledger, job: str = "standby-replay") -> Operation:
    return ledger.begin(job, "run", cluster="local", resources=[TOPIC], who="anna", parameters={})


# Holds a topic, says "held", and lives on, with heartbeats, until it is killed.
HOLDER = """
import sys, time
from redrive.errors import HeldError
from redrive.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
operation = ledger.begin("holder", "run", cluster="local", resources=[], who="me", parameters={})
with operation.keep_alive(every=0.2) as lost:
    try:
        ledger.claim([sys.argv[2]], operation, ttl=2)
    except HeldError as error:
        print("refused", error.holder, flush=True)
        sys.exit()
    print("held", operation.id, flush=True)
    while not lost.wait(0.1):
        pass
    print("lost", flush=True)
"""


def start_holder(url: str, resource: str = TOPIC) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLDER, url, resource], stdout=subprocess.PIPE, text=True)


@contextmanager
def holder(url: str, resource: str = TOPIC) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = start_holder(url, resource)
    try:
        word, operation_id = line(process).split()
        assert word == "held"
        yield process, operation_id
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_free_topic_is_held_at_once(ledger: Ledger) -> None:
    operation = begin(ledger)
    before = time.monotonic()
    ledger.claim([TOPIC, "local/dlq.flights"], operation)
    assert time.monotonic() - before < 10
    assert ledger.held() == {TOPIC: operation.id, "local/dlq.flights": operation.id}


def test_an_operation_may_claim_again_what_it_holds(ledger: Ledger) -> None:
    operation = begin(ledger)
    ledger.claim([TOPIC], operation)
    ledger.claim([TOPIC, "local/other"], operation)
    assert set(ledger.held()) == {TOPIC, "local/other"}


def test_what_an_operation_held_is_free_when_it_ends(ledger: Ledger) -> None:
    first, second = begin(ledger), begin(ledger)
    ledger.claim([TOPIC], first)
    first.finish("paused")
    ledger.claim([TOPIC], second)
    assert ledger.held() == {TOPIC: second.id}


@pytest.mark.parametrize(
    ("held", "claimed"),
    [(TOPIC, TOPIC), ("local", TOPIC), (TOPIC, "local")],
    ids=["the same topic", "a topic of a held cluster", "the cluster of a held topic"],
)
def test_a_live_operation_keeps_others_out_and_is_named(url: str, ledger: Ledger, held: str, claimed: str) -> None:
    with holder(url, held) as (_, operation_id):
        before = time.monotonic()
        with pytest.raises(HeldError) as caught:
            ledger.claim(["local2/other", claimed], begin(ledger), ttl=60)
        assert caught.value.resource == claimed
        assert caught.value.holder == f"holder {operation_id}"
        assert time.monotonic() - before < 30  # by the next heartbeat, not by the deadline
        assert "local2/other" not in ledger.held()


@pytest.mark.parametrize("claimed", ["local/flights.departed.eu", "local/flights", "local2", "loc"])
def test_a_similar_name_is_another_resource(ledger: Ledger, claimed: str) -> None:
    ledger.claim([TOPIC], begin(ledger))
    other = begin(ledger)
    ledger.claim([claimed], other, ttl=0)
    assert ledger.held()[claimed] == other.id


def test_what_a_killed_operation_held_is_taken_over_and_it_is_entered_as_failed(url: str, ledger: Ledger) -> None:
    with holder(url) as (process, dead):
        process.send_signal(signal.SIGKILL)
        process.wait()
        operation = begin(ledger)
        before = time.monotonic()
        ledger.claim([TOPIC], operation, ttl=2)
    assert 2 <= time.monotonic() - before < 60
    assert ledger.held() == {TOPIC: operation.id}
    row = ledger.operation(dead)
    assert row.status == "failed"
    assert row.evidence == {"reason": "no heartbeat for 2 s", "taken_over_by": operation.id}
    assert ledger.verify_chain() == []


def test_a_sleeper_that_wakes_after_it_was_taken_over_learns_so(url: str, ledger: Ledger) -> None:
    with holder(url) as (process, _):
        process.send_signal(signal.SIGSTOP)
        ledger.claim([TOPIC], begin(ledger), ttl=2)
        process.send_signal(signal.SIGCONT)
        assert line(process) == "lost\n"


def test_a_handle_whose_hold_was_taken_over_can_do_no_more(ledger: Ledger) -> None:
    silent, other = begin(ledger), begin(ledger)
    ledger.claim([TOPIC], silent)
    ledger.claim([TOPIC], other, ttl=0.5)
    for act in (silent.heartbeat, lambda: silent.finish("done", "proved")):
        with pytest.raises(FencedError):
            act()
    with pytest.raises(FencedError):
        ledger.claim([TOPIC], silent)


def test_a_retry_goes_on_with_what_its_operation_holds(ledger: Ledger) -> None:
    first = begin(ledger)
    ledger.claim([TOPIC], first)
    retried = ledger.begin(
        "standby-replay",
        "run",
        cluster="local",
        resources=[TOPIC],
        who="anna",
        parameters={},
        operation_id=first.id,
    )
    before = time.monotonic()
    ledger.claim([TOPIC], retried)
    assert time.monotonic() - before < 10


def test_of_several_that_claim_at_once_one_gets_it_and_the_others_are_told_who(url: str, ledger: Ledger) -> None:
    processes = [start_holder(url) for _ in range(4)]
    try:
        words = sorted(line(process).rstrip() for process in processes)
        winner = words[0].removeprefix("held ")
        assert words[1:] == [f"refused holder {winner}"] * 3
        assert ledger.held() == {TOPIC: winner}
    finally:
        for process in processes:
            process.kill()
            process.communicate()
