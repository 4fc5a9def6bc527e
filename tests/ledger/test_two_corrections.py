"""Two runs of a correction at once: the second one takes nothing that the first one has corrected."""

from __future__ import annotations

import threading
import time
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

import flows.dlq_correction as flow
from redrive.aliases.alias import Alias, Aliases
from redrive.deadletters.correction import Batch, OrderGuard, Terms, context, earlier, settling
from redrive.deadletters.correction.batch import Wanted
from redrive.deadletters.correction.order_guard import MainTopic
from redrive.deadletters.selection import Selection
from redrive.errors import HeldError, StalePlanError
from redrive.ledger import Ledger, Operation
from redrive.pump.checkpoint import Checkpoint
from redrive.pump.evidence import Evidence
from redrive.pump.proof import Proof
from tasks.dlq_correction import steps
from tests.ledger.letters import fate, fill, sighting

HELD = ["local/dlq.flights", "local/flights"]


class Second:
    """A run that begins while another one works, as `tasks.operations.Run` is to `gather`."""

    job = "dlq-correction"

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.operation = begun(ledger)
        self.id = self.operation.id

    def claim(self, topics: list[tuple[str, str]], *, all_or_none: bool) -> None:
        self.ledger.claim(["/".join(topic) for topic in topics], self.operation)

    def gather(self, selection: Selection, while_it_waits: Any, mode: Any = "run") -> Batch:
        topic = SimpleNamespace(clusters=["local"])
        cluster = SimpleNamespace(client_config=dict)
        config: Any = SimpleNamespace(
            clusters={"local": cluster},
            topics={"flights": topic},
            topic=lambda _: topic,
            cluster=lambda _: cluster,
            registry_client_config=lambda: {"url": "http://127.0.0.1:1"},
        )
        terms = Terms("", "hold", 5, {}, self.ledger.letters.last_entry())
        work = steps.Correcting(config, self, terms, None, selection)  # type: ignore[arg-type]
        other = threading.Thread(target=while_it_waits)
        other.start()
        try:
            with disable_run_logger():
                return flow.gather(self, work, flow.Correction(mode=mode))  # type: ignore[arg-type]
        finally:
            other.join()


def begun(ledger: Ledger) -> Operation:
    return ledger.begin("dlq-correction", "run", cluster="local", resources=[], who="anna", parameters={})


@pytest.fixture(autouse=True)
def _without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "select_letters", steps.select_letters.fn)
    monkeypatch.setattr(flow, "find_doubles", steps.find_doubles.fn)
    monkeypatch.setattr(flow, "find_others", steps.find_others.fn)
    monkeypatch.setattr(flow, "settle_earlier", steps.settle_earlier.fn)
    monkeypatch.setattr(flow, "look_up_topics", steps.look_up_topics.fn)
    monkeypatch.setattr(context, "read_aliases", lambda _: Aliases({}, {}))


def test_a_run_whose_main_topic_was_switched_before_it_held_it_does_not_go_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would publish to a topic that nobody holds for it."""
    fill(ledger, [sighting(0)])
    alias = Alias("flights", "flights.v2", "flights.v2", 1, 7, "{}", places={0: (0, 0)})
    known = chain([Aliases({}, {})], repeat(Aliases({"flights": alias}, {})))
    monkeypatch.setattr(context, "read_aliases", lambda _: next(known))
    monkeypatch.setattr(earlier, "checkpoints", lambda *_: {})
    with pytest.raises(StalePlanError, match=r"local/flights\.v2"):
        Second(ledger).gather(Selection(), lambda: None)


def test_what_the_first_run_corrects_while_the_second_waits_for_it_is_not_in_the_second_ones_batch(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, [sighting(0), sighting(1), sighting(2)])
    first = begun(ledger)
    ledger.claim(HELD, first)
    done = Checkpoint(operation=first.id, topics={"flights": Evidence(count=2)}).encode()
    saved: dict[str, bytes] = {}
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: saved)

    def ends() -> None:
        time.sleep(0.5)  # the second one has selected, and waits for a heartbeat
        saved["dlq/local/dlq.flights/0"] = done
        ledger.letters.record_fates(first, [fate(0, "published"), fate(1, "published")])
        first.finish("done", "proved")

    with first.keep_alive():
        batch = Second(ledger).gather(Selection(), ends)
    assert [list(unit.offsets) for unit in batch.units] == [[2]]


def test_letters_of_topics_that_it_does_not_hold_make_the_second_one_stop(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ledger, [sighting(0), sighting(0, topic="dlq.more")])
    first = begun(ledger)
    ledger.letters.record_fates(first, [fate(0, "skipped")])
    ledger.claim(HELD, first)
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: {})

    def ends() -> None:
        time.sleep(0.5)
        other = fate(0, "skipped")
        ledger.letters.record_fates(first, [_of(other, "dlq.more")])
        first.finish("done", "proved")

    with first.keep_alive(), pytest.raises(StalePlanError, match=r"local/dlq\.more"):
        Second(ledger).gather(Selection(fates=["skipped"]), ends)


@pytest.mark.parametrize(
    ("selection", "goes"),
    [
        (Selection(fates=["skipped"]), False),
        (Selection(ids=["dlq.flights/0/1"]), False),
        (Selection(fates=["skipped"], ids=["dlq.flights/0/1"]), True),
    ],
)
def test_a_letter_of_an_event_that_was_published_from_another_goes_only_if_a_person_names_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, selection: Selection, goes: bool
) -> None:
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(0, **place), sighting(1, **place)])
    first = begun(ledger)
    given_up = [fate(1, "skipped")] if "skipped" in selection.fates else []
    ledger.letters.record_fates(first, [fate(0, "published"), *given_up])
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: {})
    (unit,) = Second(ledger).gather(selection, lambda: None).units
    assert (list(unit.offsets), unit.doubles) == ([1], {} if goes else {1: "same-event"})


@pytest.mark.parametrize(("other", "left"), [("published", [2]), ("doubtful", [1, 2])])
def test_of_letters_of_one_event_that_a_person_names_one_goes_and_none_while_another_one_is_doubtful(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, other: Any, left: list[int]
) -> None:
    """Two consumer groups have each one of them, and both would come to the same readers."""
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(at, **place) for at in range(3)])
    ledger.letters.record_fates(begun(ledger), [fate(0, other)])
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: {})
    named = Selection(ids=["dlq.flights/0/1", "dlq.flights/0/2"], fates=["none", "held", "skipped"])
    (unit,) = Second(ledger).gather(named, lambda: None).units
    assert unit.doubles == dict.fromkeys(left, "another-first")


@pytest.mark.parametrize("mode", ["plan", "run"])
def test_what_a_killed_run_has_published_of_an_event_from_another_topic_s_letter_is_not_published_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Nobody has entered it, and the other letter looks open; it stands where this run does not work."""
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(0, **place), sighting(0, topic="dlq.more", **place), sighting(1, topic="dlq.more")])
    killed = begun(ledger)
    saved = {"dlq/local/dlq.more/0": Checkpoint(operation=killed.id, topics={"flights": Evidence(count=1)}).encode()}

    def checkpoints(_: Any, units: Any) -> dict[str, bytes]:
        return {unit.name: saved[unit.name] for unit in units if unit.name in saved}

    def prove(_: Any, evidence: Any, *, on_found: Any, **__: Any) -> Proof:
        message = SimpleNamespace(topic=lambda: "flights", partition=lambda: 0, offset=lambda: 9, headers=lambda: None)
        on_found(message, b"dlq/local/dlq.more/0/letters/0/0")
        return Proof("counted", [], dict.fromkeys(evidence, 1), 0, 0.0)

    monkeypatch.setattr(earlier, "checkpoints", checkpoints)
    monkeypatch.setattr(settling, "prove", prove)
    batch = Second(ledger).gather(Selection(dead_letter_topics=["dlq.flights"]), lambda: None, mode)
    assert [unit.doubles for unit in batch.units] == [{0: "another-first" if mode == "plan" else "same-event"}]
    other = ledger.letters.find(Selection(dead_letter_topics=["dlq.more"], fates=[]))
    assert [letter.fate for letter in other] == ["none" if mode == "plan" else "published", "none"]


def test_another_letter_of_an_event_that_triage_enters_before_the_run_holds_its_topics_makes_it_stop(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody holds that one's topic, or has looked what a run that was killed has made of it."""
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(0, **place)])
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: {})
    run = Second(ledger)

    def claim(topics: list[tuple[str, str]], *, all_or_none: bool) -> None:
        fill(ledger, [sighting(0, topic="dlq.more", **place)])
        Second.claim(run, topics, all_or_none=all_or_none)

    monkeypatch.setattr(run, "claim", claim)
    with pytest.raises(StalePlanError, match=r"local/dlq\.more"):
        run.gather(Selection(), lambda: None)


def test_where_another_letter_is_doubtful_already_nobody_looks_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing there stays so: each run would fail for that."""
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(0, **place), sighting(0, topic="dlq.more", **place)])
    ledger.letters.record_fates(begun(ledger), [_of(fate(0, "doubtful"), "dlq.more")])
    asked: list[str] = []
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: asked.extend(unit.name for unit in units) or {})
    (unit,) = Second(ledger).gather(Selection(dead_letter_topics=["dlq.flights"]), lambda: None).units
    assert (asked, unit.doubles) == (["dlq/local/dlq.flights/0"], {0: "another-first"})


def test_where_another_letter_of_an_event_stands_nobody_else_works_meanwhile(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read back of a run that still works is not all that it does."""
    place: dict[str, Any] = {"main_partition": 3, "main_offset": 17, "event_id": "e17"}
    fill(ledger, [sighting(0, **place), sighting(0, topic="dlq.more", **place)])
    monkeypatch.setattr(earlier, "checkpoints", lambda _, units: {})
    at_work = begun(ledger)
    ledger.claim(["local/dlq.more"], at_work)
    with at_work.keep_alive(), pytest.raises(HeldError, match=r"local/dlq\.more"):
        Second(ledger).gather(Selection(dead_letter_topics=["dlq.flights"]), lambda: None)


def test_letters_of_which_an_event_is_there_are_entered_as_those_of_who_has_published_it(ledger: Ledger) -> None:
    """Such as after the ledger was restored from a backup: the operation may be one that it does not know."""
    fill(ledger, [sighting(0), sighting(1)])
    topic = MainTopic({}, "flights", Wanted())
    topic.corrected["dlq/local/dlq.flights/0"][1] = ("forgotten", fate(1, "published"))
    run = Second(ledger)
    work: Any = SimpleNamespace(run=run)
    context: Any = SimpleNamespace(guard=OrderGuard({"flights": topic}))
    with disable_run_logger():
        assert steps.enter_corrected.fn(work, {"local": context}) == 1
        assert steps.enter_corrected.fn(work, {"local": context}) == 0
    assert [place.offset for place in ledger.letters.places(Selection())] == [0]
    assert ledger.letters.fates_by(run.id) == {}


def _of(given: Any, topic: str) -> Any:
    return type(given)(given.letter._replace(topic=topic), given.name)
