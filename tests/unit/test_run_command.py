"""``redrive run`` and ``redrive pace`` without a Prefect to speak to, and with options that make no sense."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Suspended
from pydantic import BaseModel
from typer.testing import CliRunner

from deployments import run as commands
from deployments.cli import app
from deployments.follow import Moment
from deployments.telling import Teller
from flows.broker_scaling import Scale, moves_terms
from flows.dlq_correction import Correction
from flows.dlq_triage import Triage
from flows.partition_rebalance import Rebalance
from flows.schema_backfill import Backfill
from flows.standby_replay import Replay
from redrive.cli import exit_code
from redrive.deadletters.selection import Selection
from redrive.errors import RedriveError
from tasks.partition_rebalance.limits import WatchedGroup
from tasks.paused import PAUSED, RESUME
from tasks.protection import Protect


def run(*arguments: str) -> tuple[int, str]:
    """Run the program; gives its exit code and what it says was wrong."""
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, RedriveError):  # as deployments.cli.main does
        return exit_code(result.exception), str(result.exception)
    return result.exit_code, result.output


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of an API where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        with temporary_settings(updates={PREFECT_API_URL: url}):
            yield url


def test_without_an_api_it_says_what_to_set_and_starts_no_server_of_its_own() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        code, said = run("run", "standby-replay")
    assert code == 2
    assert "PREFECT_API_URL: is not set" in said


@pytest.mark.parametrize(
    "command",
    [
        ["run", "standby-replay"],
        ["run", "dlq-triage"],
        ["run", "dlq-correction", "--rules", "rules.yaml", "--reason", "invalid-value"],
        ["pace", "standby-replay", "--pause"],
        ["pace", "dlq-correction", "--go-on"],
        ["approve", "0b3f9c2e", "--reason", "looked at it"],
    ],
    ids=" ".join,
)
def test_an_api_that_does_not_answer_is_named(nobody: str, command: list[str]) -> None:
    code, said = run(*command)
    assert code == 3
    assert said.startswith(f"Prefect {nobody} is unavailable")


@pytest.mark.parametrize("options", [[], ["--rate", "5", "--pause"], ["--pause", "--go-on"]], ids=str)
def test_a_pace_is_one_thing_at_a_time(options: list[str]) -> None:
    code, said = run("pace", "standby-replay", *options)
    assert code == 2
    assert "give one of --rate, --full-speed, --pause and --go-on" in said


@pytest.mark.parametrize(
    "options",
    [
        ["run", "standby-replay", "--mode", "try"],
        ["run", "standby-replay", "--rate", "0"],
        ["run", "standby-reply"],
        ["run", "dlq-correction", "--order", "sometimes"],
        ["run", "dlq-correction", "--since", "tomorrow"],
        ["run", "dlq-correction", "--samples", "51"],
        ["run", "partition-rebalance", "--throttle", "fast"],
        ["run", "partition-rebalance", "--throttle=-1"],
        ["run", "partition-rebalance", "--watched-group", "billing"],
        ["run", "partition-rebalance", "--watched-group", "billing:many"],
        ["approve", "0b3f9c2e"],
        ["approve", "0b3f9c2e", "--reason", " "],
        ["approve", "0b3f9c2e", "--reason", "fine", "--name", ""],
    ],
    ids=" ".join,
)
def test_nonsense_is_refused_before_anything_is_asked(options: list[str]) -> None:
    assert run(*options)[0] == 2


def test_each_parameter_of_a_correction_that_has_an_option_is_given_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command hands to Prefect is a correction as the flow's form takes it."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "_run", lambda _job, parameters, **_: given.append(parameters["correction"]))
    assert run("run", "dlq-correction")[0] == 0
    options = [
        "--mode",
        "run",
        "--rules",
        "r.yaml",
        "--order",
        "skip",
        "--rate",
        "5",
        "--partitions",
        "2",
        "--samples",
        "0",
    ]
    selection = ["--reason", "invalid-value", "--until", "2026-03-29T08:00Z", "--fate", "held"]
    assert run("run", "dlq-correction", *options, "--verify", "counts", *selection)[0] == 0
    usual, chosen = [Correction.model_validate(each) for each in given]
    assert usual == Correction()
    assert chosen == Correction(
        mode="run",
        rules="r.yaml",
        order="skip",
        rate=5,
        partitions=2,
        samples=0,
        verify="counts",
        selection=Selection(reasons=["invalid-value"], until=datetime(2026, 3, 29, 8, tzinfo=UTC), fates=["held"]),
    )


@pytest.mark.parametrize(
    ("job", "form"),
    {
        "standby-replay": Replay,
        "dlq-triage": Triage,
        "dlq-correction": Correction,
        "partition-rebalance": Rebalance,
        "schema-backfill": Backfill,
        "broker-scaling": Scale,
    }.items(),
)
def test_an_option_has_the_name_of_the_form_s_field_and_each_field_has_one(job: str, form: type[BaseModel]) -> None:
    (command,) = (each for each in commands.app.registered_commands if each.name == job)
    assert command.callback is not None
    letters = set(Selection.model_fields)  # whose options are the same for every command
    options = set(inspect.signature(command.callback).parameters) - {"follow", "json"} - letters
    # A list's option is given once for each, so it is in the singular.
    lists = {name for name, field in form.model_fields.items() if isinstance(field.default, list)}
    fields = {name.removesuffix("s") if name in lists else name for name in form.model_fields}
    assert options == fields - {"selection"}


def test_a_replay_and_a_correction_take_patience_settle_and_whom_to_protect_as_the_form_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "_run", lambda _job, parameters, **_: given.extend(parameters.values()))
    assert run("run", "standby-replay")[0] == 0
    assert run("run", "standby-replay", "--settle", "0", "--patience", "5", "--protect", "billing:7")[0] == 0
    assert run("run", "dlq-correction", "--patience", "5", "--protect", "billing:7")[0] == 0
    usual, chosen = [Replay.model_validate(each) for each in given[:2]]
    assert usual == Replay(mode="run")
    billing = Protect(group="billing", max_lag=7)
    assert (chosen.settle, chosen.patience, chosen.protect) == (0, 5, billing)
    correction = Correction.model_validate(given[2])
    assert (correction.patience, correction.protect) == (5, billing)


def test_whoever_follows_a_run_that_waits_hears_for_whom_and_the_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    tell = Teller("0b3f", "http://prefect/runs/flow-run/0b3f")
    paused = Suspended(timeout_seconds=60)
    tell(Moment(paused, None, "", asks=False, paused=False))
    tell(Moment(paused, None, "", asks=True, paused=False))
    tell(Moment(paused, None, "", asks=False, paused=True))
    assert capsys.readouterr().err.splitlines() == [
        "suspended",
        "waits for approval: redrive approve 0b3f --reason WHY, or Resume on its page: "
        "http://prefect/runs/flow-run/0b3f",
        f"{PAUSED}: {RESUME}: http://prefect/runs/flow-run/0b3f",
    ]


def test_limits_and_throttle_of_moves_are_given_as_the_form_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "_run", lambda _job, parameters, **_: given.append(parameters["rebalance"]))
    assert run("run", "partition-rebalance")[0] == 0
    assert run("run", "partition-rebalance", "--throttle", "0")[0] == 0
    limits = ["--max-produce-latency", "500", "--watched-group", "team:billing:7", "--watched-group", "audit:9"]
    limits += ["--moves-per-broker", "2", "--moves-at-once", "9", "--patience", "60"]
    assert run("run", "partition-rebalance", "--throttle", "auto", *limits)[0] == 0
    usual, without, chosen = [Rebalance.model_validate(each) for each in given]
    assert usual == Rebalance()
    assert without == Rebalance(throttle=None)
    groups = [WatchedGroup(group="team:billing", max_lag=7), WatchedGroup(group="audit", max_lag=9)]
    waves = {"moves_per_broker": 2, "moves_at_once": 9, "patience": 60}
    assert chosen == Rebalance(throttle="auto", max_produce_latency=500, watched_groups=groups, **waves)


def test_a_scaling_takes_the_limits_of_moves_and_hands_them_on_as_they_were_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "_run", lambda _job, parameters, **_: given.append(parameters["scale"]))
    limits = ["--throttle", "auto", "--max-produce-latency", "0.7", "--watched-group", "audit:9"]
    assert run("run", "broker-scaling")[0] == 0
    assert run("run", "broker-scaling", *limits)[0] == 0
    usual, chosen = [Scale.model_validate(each) for each in given]
    assert usual == Scale()
    for scale in (usual, chosen):
        same = {name: getattr(scale, name) for name in ("throttle", "max_produce_latency", "watched_groups")}
        assert Rebalance.model_validate(moves_terms(scale).parameters()) == Rebalance(**same)
    groups = [WatchedGroup(group="audit", max_lag=9)]
    assert chosen == Scale(throttle="auto", max_produce_latency=0.7, watched_groups=groups)


def test_a_backfill_takes_patience_and_whom_to_protect_as_the_form_does(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(commands, "_run", lambda _job, parameters, **_: given.append(parameters["backfill"]))
    topics = ["run", "schema-backfill", "orders", "orders.v2"]
    assert run(*topics)[0] == 0
    assert run(*topics, "--protect", "team:billing:7", "--patience", "5")[0] == 0
    assert run(*topics, "--protect", "billing")[0] == 0
    usual, chosen, short = [Backfill.model_validate(each) for each in given]
    assert usual == Backfill(source="orders", target="orders.v2")
    assert (chosen.protect, chosen.patience) == (Protect(group="team:billing", max_lag=7), 5)
    assert short.protect == Protect(group="billing")
