"""``redrive dlq fix`` and ``dlq discard`` on real letters: by hand, with the guarantees of a batch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message
from typer.testing import CliRunner

from deployments.local.stack import Stack
from redrive.cli import app, exit_code
from redrive.deadletters.correction import by_hand
from redrive.deadletters.discarding import JOB as DISCARD
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter import read_letter
from redrive.deadletters.selection import Selection
from redrive.errors import HeldError, RedriveError, StalePlanError, UnavailableError
from redrive.ledger import EntryRow, Ledger
from tests.editor import Editor
from tests.stack.clinic import Clinic

pytestmark = pytest.mark.timeout(300)

SECRET = "the-only-place-with-this-word"


class Practice(Clinic):
    """A platform with dead letters, and a person at an editor."""

    def __init__(self, stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(stack, folder, monkeypatch)
        monkeypatch.setenv("REDRIVE_CONFIG", str(self.file))
        self.editor = Editor(folder, monkeypatch)

    def dlq(self, *arguments: str, typed: str = "y\n") -> tuple[int, str]:
        """Run a command, answering its questions; gives its exit code and all that it says."""
        result = CliRunner().invoke(app, ["dlq", *arguments], input=typed)
        if isinstance(result.exception, RedriveError):  # as deployments.cli.main does
            return exit_code(result.exception), result.output + str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    def fix(self, *options: str, offset: int = 0, typed: str = "y\n") -> tuple[int, str]:
        return self.dlq("fix", f"{self.dead_letters}/0/{offset}", *options, typed=typed)

    def entries(self) -> list[EntryRow]:
        """The journal of the latest operation of corrections."""
        with Ledger.open(self.config.ledger_url()) as ledger:
            return ledger.entries(self.operation().id)


@pytest.fixture
def practice(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Practice:
    return Practice(stack, tmp_path, monkeypatch)


def header(message: Message, name: str) -> bytes | None:
    return dict(message.headers() or []).get(name)


def letters(practice: Practice, *values: Any, key: str = "k") -> None:
    practice.publish(*values, key=key)
    practice.triage()


def test_an_edited_letter_is_on_its_main_topic_once_with_what_it_had(practice: Practice) -> None:
    letters(practice, {"id": "sieben", "note": SECRET}, key="anna")
    (dead,) = practice.read(practice.dead_letters)
    practice.editor.will([('"sieben"', "7")])

    code, said = practice.fix("--edit")

    assert code == 0, said
    assert practice.values() == [{"id": 7, "note": SECRET}]
    (event,) = practice.read(practice.orders)
    assert event.key() == b"anna"
    assert event.timestamp()[1] == read_letter(dead.headers(), b"", dead.value()).timestamp
    assert header(event, "ce_id") == header(dead, "ce_id")
    assert b"by hand" in (header(event, "redrive-correction") or b"")
    assert practice.fates() == {0: "published"}
    assert f"published as {practice.orders}/{event.partition()}/{event.offset()}" in said
    assert "'sieben'" in said  # before and after, on this terminal


def test_the_ledger_says_who_did_it_and_with_which_verdict_and_not_what_the_value_is(practice: Practice) -> None:
    letters(practice, {"id": "sieben", "note": "x"})
    practice.editor.will([('"sieben"', "7"), ('"x"', f'"{SECRET}"')])

    assert practice.fix()[0] == 0

    operation = practice.operation()
    assert (operation.job, operation.mode, operation.status, operation.verdict) == (
        "dlq-correction", "run", "done", "proved",
    )  # fmt: skip
    assert operation.counts == {"letters": 1, "published": 1}
    assert operation.plan_digest
    assert operation.plan is not None
    assert operation.plan["outcomes"] == {"publish": 1}
    assert SECRET.encode() not in (practice.file.parent / "ledger.db").read_bytes()
    with Ledger.open(practice.config.ledger_url()) as ledger:
        assert ledger.held() == {}
        assert ledger.verify_chain() == []


def test_a_value_that_does_not_fit_is_offered_again_and_never_published(practice: Practice) -> None:
    letters(practice, {"id": "sieben", "note": "x"})
    practice.editor.will([('"sieben"', '"acht"')], [('"acht"', "8")])

    code, said = practice.fix(typed="y\ny\n")

    assert code == 0, said
    assert "field id is a string, not a" in said
    assert practice.values() == [{"id": 8, "note": "x"}]


def test_who_does_not_confirm_leaves_no_trace(practice: Practice) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])

    code, said = practice.fix(typed="n\n")

    assert code == 1, said
    assert not practice.read(practice.orders)
    assert practice.fates() == {0: "none"}
    with Ledger.open(practice.config.ledger_url()) as ledger:
        assert [row.job for row in ledger.operations()] == ["dlq-triage"]


@pytest.mark.parametrize(
    ("options", "typed", "fate", "published"),
    [
        ([], "n\ny\n", "held", 1),
        ([], "y\n", "published", 2),
        (["--order", "hold"], "y\n", "held", 1),
        (["--order", "publish"], "y\n", "published", 2),
        (["--order", "skip"], "y\n", "skipped", 1),
    ],
)
def test_an_overtaken_letter_goes_by_the_order_that_is_named_and_confirmed(
    practice: Practice, options: list[str], typed: str, fate: str, published: int
) -> None:
    practice.publish({"id": "sieben"}, key="anna")
    time.sleep(0.01)
    letters(practice, {"id": 8}, key="anna")
    practice.editor.will([('"sieben"', "7")])

    code, said = practice.fix(*options, typed=typed)

    assert code == 0, said
    assert f"A newer event of its key is on {practice.orders} already" in said
    assert f"--order {options[-1] if options else 'publish'}" in said
    assert practice.fates() == {0: fate}
    assert len(practice.read(practice.orders)) == published


def test_a_parked_letter_can_be_fixed(practice: Practice) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])
    with Ledger.open(practice.config.ledger_url()) as ledger:
        (place,) = ledger.letters.places(Selection())
        about: dict[str, Any] = {"cluster": "local", "resources": [], "who": "anna", "parameters": {}}
        ledger.letters.record_fates(ledger.begin("dlq-triage", "run", **about), [Fate(place.id, "parked")])

    code, said = practice.fix()

    assert code == 0, said
    assert practice.values() == [{"id": 7, "note": None}]
    assert practice.fates() == {0: "published"}


def test_a_letter_that_has_its_end_can_not_be_fixed(practice: Practice) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])
    assert practice.fix()[0] == 0

    code, said = practice.fix()

    assert code == 2
    assert "can't be corrected: it is published already; see redrive dlq show" in said
    assert len(practice.read(practice.orders)) == 1


def test_where_each_correction_needs_approval_none_is_made_by_hand(practice: Practice) -> None:
    practice.settings('approval = "required"')
    letters(practice, {"id": "sieben"})

    code, said = practice.fix()

    assert code == 2
    assert "corrections.approval: somebody has to approve each correction" in said
    assert not practice.editor.shown


def test_a_letter_that_can_not_be_decoded_says_why_before_any_editor_opens(practice: Practice) -> None:
    headers = [("redrive-reason", b"bad-frame"), ("redrive-topic", practice.orders.encode())]
    practice.send(practice.dead_letters, [b"\x07junk"], headers=[*headers, ("redrive-encoding", b"raw")])
    practice.triage()

    code, said = practice.fix()

    assert code == 2
    assert "its value is not exactly one Avro value in a frame" in said
    assert not practice.editor.shown


def test_a_letter_that_somebody_else_has_dealt_with_meanwhile_is_left_to_them(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])
    ask = "redrive.cli.dlq_fix._ask"

    def discarded_meanwhile(*_: object) -> str:
        assert practice.dlq("discard", "--id", f"{practice.dead_letters}/0/0", "--why", "old", "--yes")[0] == 0
        return "hold"

    monkeypatch.setattr(ask, discarded_meanwhile)
    code, said = practice.fix()

    assert code == 2
    assert "it is no longer open" in said
    assert practice.fates() == {0: "discarded"}
    assert practice.operation().status == "refused"
    assert not practice.read(practice.orders)


def test_a_schema_that_has_changed_meanwhile_makes_the_plan_stale(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])

    def evolved(*_: object) -> str:
        more = {"name": "more", "type": "int", "default": 0}
        schema = json.loads((practice.file.parent / "order.avsc").read_text())
        practice.register(f"{practice.orders}-value", schema | {"fields": [*schema["fields"], more]})
        time.sleep(1.1)  # for which the client keeps the latest version that it has seen
        return "hold"

    monkeypatch.setattr("redrive.cli.dlq_fix._ask", evolved)
    code, said = practice.fix()

    assert code == exit_code(StalePlanError(""))
    assert "the plan is stale" in said
    assert practice.fates() == {0: "none"}
    assert not practice.read(practice.orders)


def test_topics_that_a_job_works_at_are_left_to_it(practice: Practice) -> None:
    letters(practice, {"id": "sieben"})
    practice.editor.will([('"sieben"', "7")])
    with Ledger.open(practice.config.ledger_url()) as ledger:
        job = ledger.begin("standby-replay", "run", cluster="one", resources=[], who="anna", parameters={})
        with job.keep_alive(every=0.2):
            ledger.claim([f"one/{practice.orders}"], job)
            code, said = practice.fix()

    assert code == exit_code(HeldError("", ""))
    assert f"one/{practice.orders} is held by standby-replay {job.id}" in said
    assert practice.operation().status == "refused"
    assert not practice.read(practice.orders)


@pytest.mark.parametrize("how", ["unverified", "killed"])
def test_what_could_not_be_entered_is_entered_by_the_next_correction_and_not_published_again(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def away(*_: object, **__: object) -> None:
        raise UnavailableError("kafka", "it is away") if how == "unverified" else KeyboardInterrupt

    letters(practice, {"id": "sieben"}, {"id": "acht"})
    practice.editor.will([('"sieben"', "7")])
    with monkeypatch.context() as patch:
        patch.setattr(by_hand, "settle", away)
        code, said = practice.fix()
    assert code != 0
    if how == "unverified":
        assert "the letter is corrected; the next correction of its topic proves that, and enters it" in said
    assert practice.fates() == {0: "none", 1: "none"}

    practice.editor.will([('"sieben"', "70")])
    code, said = practice.fix()

    assert code == 2, said
    assert "an event that was made of it is on its main topic already" in said
    practice.editor.will([('"acht"', "8")])
    code, said = practice.fix(offset=1)
    assert code == 0, said
    assert practice.fates() == {0: "published", 1: "published"}
    assert practice.values() == [{"id": 7, "note": None}, {"id": 8, "note": None}]


def test_discarded_letters_are_counted_first_and_in_no_later_batch(practice: Practice) -> None:
    letters(practice, {"id": "sieben"}, {"id": "acht"})

    code, said = practice.dlq("discard", "--reason", "invalid-value", "--why", "the customer has left", typed="n\n")
    assert code == 1
    assert "Discard 2 letters, for good?" in said
    assert practice.fates() == {0: "none", 1: "none"}

    code, said = practice.dlq("discard", "--reason", "invalid-value", "--why", "the customer has left")

    assert code == 0, said
    assert "2 letters discarded" in said
    assert practice.fates() == {0: "discarded", 1: "discarded"}
    with Ledger.open(practice.config.ledger_url()) as ledger:
        (operation,) = ledger.operations(5, DISCARD)
        notes = [entry.body for entry in ledger.entries(operation.id) if entry.kind == "reason"]
    assert (operation.status, operation.verdict, operation.counts) == (
        "done",
        "counted",
        {"letters": 2, "discarded": 2},
    )
    assert notes == [{"by": operation.who, "reason": "the customer has left"}]
    code, said = practice.dlq("discard", "--reason", "invalid-value", "--why", "again", "--yes", "--json")
    assert (code, json.loads(said)) == (0, {"operation": None, "discarded": 0, "left": {}})


def test_a_letter_that_was_published_and_not_entered_is_not_discarded(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise UnavailableError("kafka", "it is away")

    letters(practice, {"id": "sieben"}, {"id": "acht"})
    practice.editor.will([('"sieben"', "7")])
    with monkeypatch.context() as patch:
        patch.setattr(by_hand, "settle", away)
        practice.fix()

    code, said = practice.dlq("discard", "--topic", practice.orders, "--why", "old", "--yes", "--json")

    assert (code, json.loads(said)["discarded"]) == (0, 1)
    assert practice.fates() == {0: "published", 1: "discarded"}
