"""The job `dlq-correction` on real dead letters, as a flow run on a real Prefect server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import ValidationError
from typer.testing import CliRunner

import tasks.dlq_correction.steps
import tasks.step_progress
from deployments.local.stack import Stack
from flows.dlq_correction import Correction, dlq_correction
from redrive.cli import app
from redrive.deadletters import answering
from redrive.deadletters.correction import source
from redrive.deadletters.letter import read_letter
from redrive.deadletters.selection import Selection
from redrive.ledger import Ledger
from redrive.pump.names import PARKING_TOPIC
from redrive.topics import apply_topics
from tasks.ending import plan_key, report_key
from tasks.pace import Pace, running, set_pace, variable_name
from tests.editor import Editor
from tests.stack.backlog import word
from tests.stack.clinic import Clinic
from tests.stack.platform import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def clinic(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clinic]:
    clinic = Clinic(stack, tmp_path, monkeypatch)
    monkeypatch.setenv("REDRIVE_CONFIG", str(clinic.file))
    settings = {PREFECT_API_URL: stack.environment()["PREFECT_API_URL"], PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(updates=settings):
        yield clinic


def run(mode: str = "run", **parameters: Any) -> State[Any]:
    return dlq_correction(Correction(**({"mode": mode, "rules": "rules.yaml"} | parameters)), return_state=True)


def header(message: Message, name: str) -> bytes | None:
    return dict(message.headers() or []).get(name)


def test_corrected_letters_are_on_their_main_topic_once_with_what_they_had(clinic: Clinic) -> None:
    before = time.time_ns() // 1_000_000
    clinic.publish({"id": "1"}, {"id": "2", "note": "fragile"}, key="anna")
    clinic.triage()
    (first, _) = letters = clinic.read(clinic.dead_letters)

    state = run()

    assert word(state) == "proved", state.message
    corrected = clinic.read(clinic.orders)
    assert clinic.values() == [{"id": 1, "note": None}, {"id": 2, "note": "fragile"}]
    assert [message.key() for message in corrected] == [b"anna", b"anna"]
    assert before <= corrected[0].timestamp()[1] == read_letter(first.headers(), b"", first.value()).timestamp
    assert [header(m, "ce_id") for m in corrected] == [header(letter, "ce_id") for letter in letters]
    assert header(corrected[0], "redrive-operation") == clinic.operation().id.encode()
    assert header(corrected[0], "redrive-attempt") == b"1"
    assert b"numbers as text" in (header(corrected[0], "redrive-correction") or b"")
    assert header(corrected[0], "redrive-reason") is None
    assert clinic.fates() == {0: "published", 1: "published"}


def test_a_second_run_finds_nothing_left(clinic: Clinic) -> None:
    clinic.publish({"id": "1"})
    clinic.triage()
    assert word(run()) == "proved"

    assert word(run()) == "nothing to correct"

    assert len(clinic.read(clinic.orders)) == 1


def test_a_plan_says_what_would_become_of_each_letter_and_writes_nothing(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "none"}, {"id": None, "note": "test"}, {"id": "what?", "note": "now"})
    clinic.triage()

    state = run("plan")

    assert word(state) == "planned"
    assert "1 of 4 letters would be published, 1 rejected, 1 skipped, 1 left open" in (state.message or "")
    plan = clinic.shown(plan_key("dlq-correction"))
    assert "numbers as text" in plan
    assert "no-rule" in plan
    assert "| '1' | 1 |" in plan
    assert not clinic.read(clinic.orders)
    assert len(clinic.read(clinic.dead_letters)) == 4
    assert set(clinic.fates().values()) == {"none"}


def test_each_letter_ends_in_exactly_one_way_and_the_sums_agree(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "none"}, {"id": None, "note": "test"}, {"id": "what?", "note": "now"})
    clinic.triage()

    state = run()

    assert word(state) == "proved", state.message
    assert clinic.fates() == {0: "published", 1: "rejected", 2: "skipped", 3: "none"}
    operation = clinic.operation()
    expected = {"letters": 4, "published": 1, "held": 0, "skipped": 1, "rejected": 1, "parked": 0, "left": 1}
    assert operation.counts == expected
    assert "Proved: 1 letter published again" in clinic.shown(report_key("dlq-correction"))


def test_a_letter_that_can_not_be_put_right_comes_back_once_with_one_attempt_more(clinic: Clinic) -> None:
    clinic.publish({"id": "none"})
    clinic.triage()

    assert word(run()) == "proved"

    (_, again) = clinic.read(clinic.dead_letters)
    letter = read_letter(again.headers(), again.key(), again.value())
    assert (letter.attempt, letter.reason, letter.field, letter.value) == (2, "invalid-value", "id", {"id": "none"})


def test_a_letter_that_fails_for_the_last_time_is_parked(clinic: Clinic) -> None:
    clinic.settings('approval = "none"\nattempts = 2')
    clinic.publish({"id": "none"})
    for _ in range(3):
        clinic.triage()
        run()

    assert clinic.fates() == {0: "rejected", 1: "parked"}
    parked = [header(message, "redrive-topic") for message in clinic.read(PARKING_TOPIC)]  # of all tests
    assert parked.count(clinic.orders.encode()) == 1


def test_a_search_for_newer_events_that_takes_long_shows_how_far_it_is(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.step_progress, "AFTER", 0)  # any search takes longer
    clinic.publish({"id": "1"}, {"id": 2}, key="anna")
    clinic.triage()

    assert word(run("plan")) == "planned"

    step = clinic.artifact("dlq-correction-step")
    assert (step.type, step.data) == ("progress", 100)
    assert step.description == f"looking for newer events on {clinic.orders}: 1 of 1 event"


@pytest.mark.parametrize(
    ("order", "fate", "published"), [("hold", "held", 1), ("publish", "published", 2), ("skip", "skipped", 1)]
)
def test_a_letter_whose_key_has_a_newer_event_goes_by_the_policy(
    clinic: Clinic, order: str, fate: str, published: int
) -> None:
    clinic.publish({"id": "1"}, key="anna")
    time.sleep(0.01)
    clinic.publish({"id": 2}, key="anna")
    clinic.triage()

    assert word(run(order=order)) == "proved"

    assert clinic.fates() == {0: fate}
    assert len(clinic.read(clinic.orders)) == published


def test_what_a_run_has_corrected_and_not_entered_is_entered_by_the_next_and_not_published_again(
    clinic: Clinic, tmp_path: Path
) -> None:
    clinic.publish({"id": "1"}, {"id": "2"})
    clinic.triage()
    assert word(run()) == "proved"
    for file in tmp_path.glob("ledger.db*"):
        file.unlink()  # as if the run had been killed before it could enter anything
    clinic.publish({"id": "3"})
    clinic.triage()

    assert word(run("plan")) == "planned"
    assert set(clinic.fates().values()) == {"none"}
    assert word(run()) == "proved"

    assert [value["id"] for value in clinic.values()] == [1, 2, 3]
    assert set(clinic.fates().values()) == {"published"}
    assert (clinic.operation().counts or {})["published"] == 1


FATAL = """
  - name: fatal
    match: {when: "value.note == 'fatal'"}
    function: tests.unit.rule_functions:die_once
"""


def test_a_process_that_judges_and_dies_costs_a_retry_and_no_letter(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared = tmp_path / "spared"
    spared.write_text(str(os.getpid()))  # which judges the plan
    monkeypatch.setenv("SPARED_BY_DIE_ONCE", str(spared))
    monkeypatch.setattr(tasks.dlq_correction.steps, "MANY_LETTERS", 1)
    monkeypatch.setattr(source, "_PIECE", 10)
    clinic.settings('approval = "none"\n[jobs]\nprocesses = 2')
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules.read_text().replace("rules:", f"rules:{FATAL}", 1))
    clinic.publish(*({"id": str(number), "note": "fatal" if number == 150 else None} for number in range(300)))
    clinic.triage()

    state = run()

    assert word(state) == "proved", state.message
    assert not spared.exists()
    assert [value["id"] for value in clinic.values()] == list(range(300))
    assert clinic.fates() == dict.fromkeys(range(300), "published")


def test_its_pace_can_be_changed_while_it_works(clinic: Clinic) -> None:
    clinic.publish(*({"id": str(number)} for number in range(1_000)))
    clinic.triage()
    states: list[State[Any]] = []
    api = PREFECT_API_URL.value()

    def slowly() -> None:
        with temporary_settings(updates={PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            states.append(run(rate=10))  # 100 s

    thread = threading.Thread(target=slowly)
    began = time.monotonic()
    thread.start()
    with get_client(sync_client=True) as client:
        while not (own := _variable(clinic)) or own not in running(client, "dlq-correction"):
            time.sleep(0.2)
        set_pace(client, own, Pace(rate=None))
    thread.join(90)
    assert [word(state) for state in states] == ["proved"]
    assert time.monotonic() - began < 60
    assert "at most 10 letters/s, then full speed" in clinic.shown(report_key("dlq-correction"))


def _variable(clinic: Clinic) -> str:
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        return next((variable_name(row.job, row.id) for row in ledger.operations(1, "dlq-correction")), "")


def test_a_small_correction_does_not(clinic: Clinic) -> None:
    clinic.settings("approval = 1")
    clinic.publish({"id": "1"})
    clinic.triage()

    assert word(run()) == "proved"


@pytest.mark.parametrize("fates", [[], ["published"], ["none", "discarded"], ["rejected"]])
def test_letters_that_have_come_to_their_end_can_not_be_selected(fates: list[str]) -> None:
    with pytest.raises(ValidationError, match="would be published twice"):
        Correction(selection={"fates": fates})


def test_parked_letters_that_their_topic_no_longer_has_are_corrected_from_their_copies(
    clinic: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.settings('approval = "none"\nattempts = 1')
    clinic.publish({"id": "none"}, {"id": "1"}, {"id": "none"})
    clinic.triage()
    assert word(run()) == "proved"
    assert clinic.fates() == {0: "parked", 1: "published", 2: "parked"}
    place = TopicPartition(clinic.dead_letters, 0, 3)
    admin = AdminClient({"bootstrap.servers": clinic.bootstrap})
    admin.delete_records([place])[place].result()

    shown = CliRunner().invoke(app, ["dlq", "show", f"{clinic.dead_letters}/0/0"], catch_exceptions=False)
    assert "This is its copy: redrive.parked/" in shown.output
    assert '"id": "none"' in shown.output

    Editor(tmp_path, monkeypatch).will([('"none"', "7")])
    fixed = CliRunner().invoke(app, ["dlq", "fix", f"{clinic.dead_letters}/0/0"], input="y\n", catch_exceptions=False)
    assert fixed.exit_code == 0, fixed.output

    rules = tmp_path / "rules.yaml"
    rules.write_text(rules.read_text().replace("value: still no number", "value: 9"))
    state = run(selection=Selection(fates=["parked"]))
    assert word(state) == "proved", state.message
    assert clinic.values() == [{"id": 1, "note": None}, {"id": 7, "note": None}, {"id": 9, "note": None}]
    assert clinic.fates() == {0: "published", 1: "published", 2: "published"}


def test_letters_of_a_dead_letter_topic_that_was_made_anew_are_corrected_under_ids_of_their_own(clinic: Clinic) -> None:
    clinic.publish({"id": "1"}, {"id": "none"})
    clinic.triage()
    assert word(run()) == "proved"
    clinic.triage()
    admin = AdminClient({"bootstrap.servers": clinic.bootstrap})
    admin.delete_topics([clinic.dead_letters])[clinic.dead_letters].result()
    wait_until(lambda: clinic.dead_letters not in admin.list_topics(timeout=10).topics, 120)
    assert not [change for change in apply_topics(clinic.config) if change.outcome == "failed"]
    clinic.publish({"id": "3"}, {"id": "none"})
    command = ["dlq", "accept", clinic.dead_letters, "--reason", "made again by mistake", "--yes"]
    accepted = CliRunner().invoke(app, command, catch_exceptions=False)
    assert accepted.exit_code == 0, accepted.output
    clinic.triage()

    state = run()

    assert word(state) == "proved", state.message
    assert clinic.values() == [{"id": 1, "note": None}, {"id": 3, "note": None}]
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        fates = {letter.id.short: letter.fate for letter in ledger.letters.find(Selection(fates=[]))}
    assert fates == {
        f"{clinic.dead_letters}/0/0": "published",
        f"{clinic.dead_letters}/0/1": "rejected",
        f"{clinic.dead_letters}/0/2": "discarded",
        f"{clinic.dead_letters}@2/0/0": "published",
        f"{clinic.dead_letters}@2/0/1": "rejected",
    }
    assert len(clinic.read(clinic.dead_letters)) == 3  # the one that was rejected is back


def test_a_cluster_that_is_away_holds_up_no_letters_of_others(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "ANSWER", 3.0)
    clinic.publish({"id": "1"}, {"id": "2"})
    clinic.triage()
    clinic.triage("two")
    at = f'[clusters.two]\nbootstrap = "{clinic.bootstrap}"'
    text = clinic.file.read_text()
    assert at in text
    clinic.file.write_text(text.replace(at, '[clusters.two]\nbootstrap = "127.0.0.1:1"'))

    state = run()

    assert word(state) == "proved", state.message
    assert clinic.values() == [{"id": 1, "note": None}, {"id": 2, "note": None}]
    assert "no-answer" in clinic.shown(plan_key("dlq-correction"))
    with Ledger.open(clinic.config.ledger_url()) as ledger:
        fates = {(each.sighting.cluster, each.fate) for each in ledger.letters.find(Selection(fates=[]))}
    assert fates == {("one", "published"), ("two", "none")}
