"""``redrive dlq`` with a ledger, and without Kafka: what is listed, counted and told, as tables and as JSON."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from redrive.cli import app, exit_code
from redrive.cli.output import hexdump, safe
from redrive.config import Config
from redrive.deadletters import answering, discarding
from redrive.deadletters.correction import Unit
from redrive.deadletters.fate import Fate
from redrive.deadletters.letter_id import LetterId
from redrive.deadletters.selection import Selection, key_bytes, key_text
from redrive.errors import RedriveError, UnavailableError
from redrive.ledger import Ledger
from redrive.pump import readback
from tests.ledger.letters import begin, fill, sighting

HOUR = 3_600_000
NONE_OF_5 = "No such letters among the 5 that the ledger has, open or not.\n"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the settings name; its cluster is at a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "redrive.toml").write_text(f"""\
[registry]
url = "http://{nobody}"
[clusters.local]
bootstrap = "{nobody}"
[domains.travel]
cluster = "local"
[topics.flights]
domain = "travel"
""")
        monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
        with Ledger.open(Config.load().ledger_url()) as opened:
            yield opened


@pytest.fixture
def letters(ledger: Ledger) -> Ledger:
    """Five letters: two of flights, one of them held; two of billing, one of them published; one that says nothing."""
    now = time.time_ns() // 1_000_000  # not when the file was imported: all tests take longer than ages are rounded to
    fill(
        ledger,
        [
            sighting(0, timestamp=now - 3 * HOUR),
            sighting(1, timestamp=now - 5 * HOUR, attempts=2, event_id="e-0", key=b"\x00\xff"),
            *(
                sighting(at, topic="dlq.billing", producer="billing", reason="handler-failed", field="", event_id="e-7")
                for at in (0, 1)
            ),
            sighting(
                0,
                topic="dlq.odd",
                dialect="unknown",
                reason="unknown",
                producer="",
                main_topic="",
                field="",
                timestamp=0,
                event_id=None,
                key=None,
                correctable=False,
            ),
        ],
    )
    correction = begin(ledger, "dlq-correction", "0a1b2c3d-correction")
    billing = LetterId("local", "dlq.billing", 0, 1)
    ledger.letters.record_fates(correction, [Fate(LetterId("local", "dlq.flights", 0, 1), "held", "newer-event")])
    ledger.letters.record_fates(correction, [Fate(billing, "held")])
    published = Fate(billing, "published", "", ("default-time",), "flights", 2, 4711)
    ledger.letters.record_fates(correction, [published])
    return ledger


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the program; gives its exit code, its output, and what it says was wrong."""
    result = CliRunner().invoke(app, ["dlq", *arguments])
    if isinstance(result.exception, RedriveError):  # as deployments.cli.main does
        return exit_code(result.exception), result.stdout, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def document(*arguments: str) -> Any:
    code, output, _ = run(*arguments, "--json")
    assert code == 0
    return json.loads(output)


def ids(*arguments: str) -> list[str]:
    return [letter["id"].removeprefix("local:dlq.") for letter in document("list", *arguments)["letters"]]


@pytest.mark.parametrize("command", [["list"], ["groups"], ["history", "e-0"]], ids=str)
def test_an_empty_ledger_says_how_it_is_filled(ledger: Ledger, command: list[str]) -> None:
    code, output, _ = run(*command)
    assert (code, output) == (
        0,
        "The ledger has no dead letters. To enter what is in Kafka: redrive run dlq-triage\n",
    )
    code, output, said = run(*command, "--json")
    assert json.loads(output) in (
        [],
        {"total": 0, "letters": [], "next": None},
        {"total": 0, "groups": [], "waiting": {}},
    )
    assert "redrive run dlq-triage" in said


def test_where_none_is_selected_it_says_how_many_there_are(letters: Ledger) -> None:
    assert run("list", "--reason", "too-large")[:2] == (0, NONE_OF_5)


def test_open_letters_are_listed_with_what_an_operator_asks_first(letters: Ledger) -> None:
    code, output, _ = run("list")
    assert code == 0
    odd, billing, first, second = [line.split() for line in output.splitlines()[3:7]]
    assert odd == ["local:dlq.odd/0/0", "unknown", "–", "–", "–", "1", "–", "none"]
    assert billing[:6] == ["local:dlq.billing/0/0", "handler-failed", "–", "billing", "flights", "1"]
    assert " ".join(first) == "local:dlq.flights/0/0 invalid-value dep_time flights flights 1 3 h none"
    assert " ".join(second) == "local:dlq.flights/0/1 invalid-value dep_time flights flights 2 5 h held"
    assert output.splitlines()[-1] == "4 of 4 letters."


def test_pages_follow_each_other_and_say_how_to_go_on(letters: Ledger) -> None:
    assert run("list", "--limit", "3")[1].splitlines()[-1] == "3 of 4 letters. Go on with --after local:dlq.flights/0/0"
    assert "dlq.flights/0/1" in run("list", "--limit", "3", "--after", "local:dlq.flights/0/0")[1]
    first = document("list", "--limit", "3")
    rest = document("list", "--limit", "3", "--after", first["next"])
    assert (first["total"], first["next"], rest["total"], rest["next"]) == (4, "local:dlq.flights/0/0", 4, None)
    assert [letter["id"] for letter in rest["letters"]] == ["local:dlq.flights/0/1"]


def test_behind_the_last_letter_there_is_none_though_some_are_selected(letters: Ledger) -> None:
    code, output, _ = run("list", "--after", "dlq.flights/0/1")
    assert (code, output.splitlines()[-1]) == (0, "0 of 4 letters.")
    assert document("list", "--after", "dlq.flights/0/1") == {"total": 4, "letters": [], "next": None}


def test_a_letter_as_json_has_all_that_the_ledger_has(letters: Ledger) -> None:
    (letter,) = document("list", "--id", "dlq.flights/0/1")["letters"]
    assert (letter["id"], letter["fate"], letter["attempts"], letter["key"]) == (
        "local:dlq.flights/0/1",
        "held",
        2,
        "hex:00ff",
    )
    assert set(sighting(0).__struct_fields__) < set(letter)
    (silent,) = document("list", "--topic", "")["letters"]
    assert (silent["key"], silent["timestamp"], silent["event_id"]) == (None, None, None)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--reason", "handler-failed"], ["billing/0/0"]),
        (["--producer", "billing", "--producer", ""], ["odd/0/0", "billing/0/0"]),
        (["--topic", ""], ["odd/0/0"]),
        (["--dead-letter-topic", "dlq.odd"], ["odd/0/0"]),
        (["--cluster", "east"], []),
        (["--key", "hex:00ff"], ["flights/0/1"]),
        (["--schema-id", "8"], []),
        (["--dialect", "unknown"], ["odd/0/0"]),
        (["--fate", "published"], ["billing/0/1"]),
        (["--fate", "any"], ["odd/0/0", "billing/0/0", "billing/0/1", "flights/0/0", "flights/0/1"]),
        (["--id", "dlq.flights/0/0", "--id", "local:dlq.odd/0/0"], ["odd/0/0", "flights/0/0"]),
        (["--since", "2026-01-01T00:00:00+02:00", "--until", "2026-10-01T00:00Z"], []),
        (["--until", "1970-01-02T00:00Z"], ["odd/0/0"]),
        (["--reason", "handler-failed", "--topic", ""], []),
    ],
    ids=" ".join,
)
def test_each_option_selects(letters: Ledger, options: list[str], found: list[str]) -> None:
    assert ids(*options) == found


@pytest.mark.parametrize("field", Selection.model_fields)
def test_each_field_of_a_selection_has_an_option(field: str) -> None:
    option = "--" + field.removeprefix("event_").removesuffix("s").replace("_", "-")
    for command in ("list", "groups", "discard"):
        assert option in CliRunner().invoke(app, ["dlq", command, "--help"], env={"COLUMNS": "200"}).stdout


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--since", "2026", "'2026' is no time with a time zone; write it like 2026-03-29T08:00Z"),
        ("--since", "", "'' is no time with a time zone"),
        ("--until", "2026-03-29T08:00", "is no time with a time zone"),
        ("--until", "tomorrow", "'tomorrow' is no time with a time zone"),
        ("--key", "hex:0g", "'hex:0g' is not hex: and hexadecimal digits"),
        ("--schema-id", "seven", "'seven' must be a valid integer"),
        ("--schema-id", "-1", "'-1' must be greater than or equal to 0"),
        ("--dialect", "klingon", "'klingon' must be 'own', 'connect'"),
        ("--fate", "lost", "'lost' must be 'none', 'published'"),
        ("--id", "dlq.flights", "letter 'dlq.flights' is not of the form topic/partition/offset"),
        ("--reason", "x" * 300, "must have at most 260 characters"),
    ],
)
def test_a_value_that_makes_no_sense_is_named_with_its_option(
    ledger: Ledger, option: str, value: str, reason: str
) -> None:
    for command in ("list", "groups"):
        code, _, said = run(command, option, value)
        assert (code, said.partition(": ")[0]) == (2, option)
        assert reason in said
        assert len(said) < 200


def test_a_span_of_time_that_is_none_is_refused(ledger: Ledger) -> None:
    code, _, said = run("list", "--since", "2026-02-01T00:00Z", "--until", "2026-01-01T00:00Z")
    assert code == 2
    assert said.startswith("--since: ")
    assert "this selects nothing" in said


@pytest.mark.parametrize("arguments", [["show", "dlq.flights"], ["list", "--after", "x"], ["show", "dlq.flights/0/9"]])
def test_a_letter_that_is_none_ends_with_2(letters: Ledger, arguments: list[str]) -> None:
    code, _, said = run(*arguments)
    assert code == 2
    assert "write it like dlq.flights/2/4711" in said or "`redrive run dlq-triage` enters what is new" in said


def test_a_letter_of_two_clusters_must_be_named_with_its_cluster(ledger: Ledger) -> None:
    fill(ledger, [sighting(0), sighting(0, cluster="east")])
    code, _, said = run("show", "dlq.flights/0/0")
    assert (code, said) == (2, "letter dlq.flights/0/0 is on east and local; write east:dlq.flights/0/0")


def test_groups_count_the_selected_letters_and_all_of_them(letters: Ledger) -> None:
    code, output, _ = run("groups")
    assert code == 0
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert rows[3] == "invalid-value flights flights 2 2 2 5 h 3 h"
    assert rows[-1] == "4 letters, 3 of them correctable."
    every = document("groups", "--fate", "any")
    assert (every["total"], [group["letters"] for group in every["groups"]]) == (5, [2, 2, 1])
    assert every["groups"][-1] | {"correctable": 0, "producer": "", "topic": ""} == every["groups"][-1]


def test_letters_that_wait_for_a_person_are_counted_beside_the_open_ones(letters: Ledger) -> None:
    """No run takes them by itself, so that nothing else would tell of them."""
    fates = [Fate(LetterId("local", "dlq.flights", 0, at), name) for at, name in enumerate(("parked", "doubtful"))]
    letters.letters.record_fates(begin(letters), fates)
    assert document("groups")["waiting"] == {"parked": 1, "doubtful": 1}
    assert document("groups", "--topic", "billing")["waiting"] == {}
    assert "1 letters are parked, and wait for a person: --fate parked" in run("groups")[1]
    assert document("groups", "--fate", "parked", "--fate", "doubtful")["total"] == 2


def test_letters_of_impossible_times_are_counted_and_listed_with_the_others(letters: Ledger) -> None:
    fill(letters, [sighting(0, topic="dlq.late", timestamp=2**63 - 1, main_timestamp=2**63 - 1)])
    assert "dlq.late/0/0" in run("list")[1]
    assert document("groups")["total"] == 5


def test_the_history_of_an_event_is_told_by_attempt_with_every_fate(letters: Ledger) -> None:
    code, output, _ = run("history", "e-0")
    assert code == 0
    first, second = output.splitlines()[3:5]
    assert " ".join(first.split()) == "local:dlq.flights/0/0 invalid-value dep_time flights flights 1 3 h –"
    assert second.split()[:6] == ["local:dlq.flights/0/1", "invalid-value", "dep_time", "flights", "flights", "2"]
    assert "held newer-event by 0a1b2c3d" in second
    untouched, corrected = document("history", "e-7")
    assert untouched["fates"] == []
    held, published = corrected["fates"]
    assert (held["fate"], published["fate"], corrected["fate"]) == ("held", "published", "published")
    assert (published["rules"], published["topic"], published["partition"], published["offset"]) == (
        ["default-time"],
        "flights",
        2,
        4711,
    )
    assert published["operation"] == "0a1b2c3d-correction"
    assert "published default-time flights/2/4711" in run("history", "e-7")[1]


def test_an_event_that_was_never_a_dead_letter_has_no_history(letters: Ledger) -> None:
    assert run("history", "e-1000")[:2] == (0, NONE_OF_5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--why", "old"], "discard: say which letters"),
        (["--why", " ", "--topic", "flights"], "--why: is empty"),
        (["--why", "old", "--fate", "any"], "have come to their end"),
        (["--why", "old", "--fate", "none", "--fate", "published"], "have come to their end"),
    ],
    ids=["all there are", "no reason", "any fate", "published"],
)
def test_letters_are_not_discarded_by_mistake(letters: Ledger, options: list[str], said: str) -> None:
    code, _, error = run("discard", "--yes", *options)
    assert code == 2
    assert said in error
    assert letters.letters.count(Selection(fates=["discarded"])) == 0


def test_so_many_letters_as_have_to_be_approved_are_not_discarded_by_hand(letters: Ledger) -> None:
    settings = Path(os.environ["REDRIVE_CONFIG"])
    settings.write_text(settings.read_text() + "[corrections]\napproval = 2\n")
    code, _, error = run("discard", "--yes", "--topic", "flights", "--why", "old")
    assert code == 2
    assert "giving up 3 letters has to be approved" in error
    assert letters.letters.count(Selection(fates=["discarded"])) == 0


def test_a_person_is_shown_how_many_would_be_discarded_and_asked(letters: Ledger) -> None:
    code, output, said = run("discard", "--topic", "flights", "--why", "old")  # and there is nobody to answer
    assert code == 1
    assert "3 letters, 3 of them correctable." in output
    assert "Discard 3 letters, for good?" in said
    none = {"operation": None, "discarded": 0, "left": {}}
    assert document("discard", "--reason", "too-large", "--why", "old") == none
    assert letters.letters.count(Selection(fates=["discarded"])) == 0


@pytest.fixture
def east(letters: Ledger, monkeypatch: pytest.MonkeyPatch) -> str:
    """A second cluster, with two letters, which answers while the first one does not."""
    fill(letters, [sighting(at, cluster="east") for at in (0, 1)])
    settings = Path(os.environ["REDRIVE_CONFIG"])
    settings.write_text(f'{settings.read_text()}[clusters.east]\nbootstrap = "127.0.0.1:1"\n')

    def settle_earlier(_: Any, __: Any, units: list[Unit], *___: Any, **____: Any) -> None:
        if any(unit.cluster != "east" for unit in units):
            raise UnavailableError("Kafka local", "no answer")

    monkeypatch.setattr(answering, "answers", lambda _, cluster: cluster == "east")
    monkeypatch.setattr(answering, "AGAIN", 0.0)
    monkeypatch.setattr(discarding, "settle_earlier", settle_earlier)
    return "east"


def test_letters_of_a_cluster_that_is_away_are_left_and_all_others_discarded(letters: Ledger, east: str) -> None:
    code, output, said = run("discard", "--yes", "--topic", "flights", "--why", "old")
    assert code == 3
    assert output.endswith(".\n")
    assert "2 letters discarded, by operation" in output
    assert said == "3 letters on local, which does not answer, are left as they are: discard them once it does\n"
    found = letters.letters.find(Selection(fates=["discarded"]))
    assert [(each.sighting.cluster, each.sighting.offset) for each in found] == [(east, 0), (east, 1)]
    code, output, _ = run("discard", "--yes", "--json", "--topic", "flights", "--why", "old", "--cluster", "local")
    assert (code, output) == (3, ""), "if none answers, nothing is done"
    assert letters.letters.count(Selection(fates=["discarded"])) == 2


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_without_kafka_a_letter_is_shown_as_the_ledger_has_it(
    letters: Ledger, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readback, "_REQUEST_TIMEOUT", 0.5)  # else all as it is, in 20 s
    monkeypatch.setattr(readback, "_ELECTION", 0.5)
    code, output, _ = run("show", "dlq.billing/0/1", *options)
    assert code == 3
    assert all(word in output for word in ("handler-failed", "default-time", "held", "published"))
    assert "Kafka 127.0.0.1:" in output
    assert "is unavailable" in output
    if options:
        shown = json.loads(output)
        assert (shown["id"], shown["record"], len(shown["fates"])) == ("local:dlq.billing/0/1", None, 2)


def test_a_letter_of_a_cluster_that_the_settings_lack_is_shown_as_the_ledger_has_it(ledger: Ledger) -> None:
    fill(ledger, [sighting(0, cluster="east")])
    code, output, _ = run("show", "dlq.flights/0/0")
    assert code == 2
    assert "invalid-value" in output
    assert "clusters.east: there is no such cluster; there are local" in output


@given(st.binary())
def test_a_key_is_written_so_that_it_can_be_given_back(key: bytes) -> None:
    assert key_bytes(key_text(key)) == key
    assert key_text(key).isprintable()


def test_a_key_that_looks_like_hexadecimal_is_not_taken_for_it() -> None:
    assert (key_text(b"anna"), key_text(b"hex:00"), key_text(b"\x1b[2J")) == (
        "anna",
        "hex:6865783a3030",
        "hex:1b5b324a",
    )


@given(st.text())
def test_what_is_shown_can_not_steer_the_terminal(text: str) -> None:
    shown = safe(text)
    assert shown.replace("\n", "").isprintable()
    shown.encode()


def test_bytes_are_shown_where_they_stand_in_hexadecimal_and_ascii() -> None:
    assert list(hexdump(bytes([0, 0, 0, 0, 7, 0x41, 0x7F, 0xFF]) + b"x" * 9)) == [
        "00000000  00 00 00 00 07 41 7f ff 78 78 78 78 78 78 78 78  .....A..xxxxxxxx",
        "00000010  78                                               x",
    ]
    assert list(hexdump(b"")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["flights", "--reason", "made again"], "topics.flights: holds no dead letters"),
        (["dlq.two", "--reason", "made again"], "--cluster: is needed: dlq.two is on local, west"),
        (
            ["dlq.two", "--cluster", "nowhere", "--reason", "made again"],
            "--cluster: is nowhere, and dlq.two is on local",
        ),
        (["dlq.two", "--cluster", "west", "--reason", " "], "--reason: is empty"),
        (["dlq.none", "--reason", "made again"], "there is no such topic"),
    ],
)
def test_a_topic_is_accepted_only_if_it_is_clear_which_and_why(ledger: Ledger, arguments: list[str], said: str) -> None:
    settings = Path(os.environ["REDRIVE_CONFIG"])
    settings.write_text(
        settings.read_text()
        + '[clusters.west]\nbootstrap = "127.0.0.1:1"\n'
        + '[domains.two]\nregions = { here = "local", there = "west" }\nactive = "here"\n'
        + '[topics."dlq.two"]\ndomain = "two"\n'
    )
    code, _, error = run("accept", "--yes", *arguments)
    assert code == 2, error
    assert said in error
