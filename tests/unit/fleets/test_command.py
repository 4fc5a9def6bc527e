"""A fleet behind two commands: real ones, that answer, fail, hang and talk nonsense."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from redrive.config import CommandFleetConfig
from redrive.errors import FleetError, UnavailableError
from redrive.fleets import CommandFleet, Sample, Shape


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


def fleet(
    folder: Path, *, load: list[str] | None = None, add: list[str] | None = None, timeout: float = 20
) -> CommandFleet:
    config = CommandFleetConfig(
        kind="command", load=load or ["true"], add=add or ["true", "{brokers}"], timeout=timeout
    )
    return CommandFleet(config, "clusters.local.fleet", folder)


def printing(text: str) -> list[str]:
    return python("import sys; print(sys.argv[1])", text)


def test_the_load_is_asked_for_now_and_again_for_the_whole_time(tmp_path: Path) -> None:
    now, slept = 1_000.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    config = CommandFleetConfig(kind="command", load=["cat", "load.json"], add=["true", "{brokers}"])
    (tmp_path / "load.json").write_text('{"1": 42.5, "2": 7}')  # it runs in the folder of the settings
    asked = CommandFleet(config, "clusters.local.fleet", tmp_path, clock=lambda: now, sleep=sleep)
    samples = asked.samples({1, 2}, 300)
    assert samples == [Sample(1_000.0 + 30 * at, {1: 42.5, 2: 7.0}) for at in range(11)]
    assert slept == [30.0] * 10
    assert (asked.step(6_000), asked.step(10)) == (60, 1)


def test_the_number_of_brokers_there_are_to_be_stands_in_the_command_and_no_shell_reads_it(tmp_path: Path) -> None:
    program = "import sys, json, pathlib; pathlib.Path('said').write_text(json.dumps(sys.argv[1:]))"
    fleet(tmp_path, add=python(program, "--replicas={brokers}", "$HOME; rm *")).grow(4)
    assert json.loads((tmp_path / "said").read_text()) == ["--replicas=4", "$HOME; rm *"]


def test_how_large_it_is_only_the_cluster_knows(tmp_path: Path) -> None:
    assert fleet(tmp_path).shape() == Shape(None, 1, "")


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "42",
        "[]",
        "{}",
        '{"one": 1}',
        '{"1": "high"}',
        '{"1": true}',
        '{"1": NaN}',
        '{"1": -1}',
        '{"1": 1e999}',
        "{",
    ],
)
def test_what_is_no_load_is_refused_and_quoted(tmp_path: Path, printed: str) -> None:
    with pytest.raises(FleetError) as caught:
        fleet(tmp_path, load=printing(printed)).samples({1}, 1)
    assert caught.value.fleet == "clusters.local.fleet.load"
    assert "must print broker ids and percent as JSON" in str(caught.value)
    assert repr(printed)[1:-1] in str(caught.value) if printed else str(caught.value).endswith("it printed nothing")


def test_a_command_that_fails_is_told_with_its_setting_its_exit_code_and_the_end_of_its_stderr(tmp_path: Path) -> None:
    failing = python("import sys; sys.stderr.write('x' * 1000 + 'no quota left\\n'); sys.exit(7)", "{brokers}")
    with pytest.raises(FleetError) as caught:
        fleet(tmp_path, add=failing).grow(4)
    assert str(caught.value).startswith("clusters.local.fleet.add: ended with exit code 7; its stderr ends with 'xxx")
    assert str(caught.value).endswith("no quota left'")
    assert len(str(caught.value)) < 500


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"fleet\.load: no-such-program can't be started: No such file"):
        fleet(tmp_path, load=["no-such-program"]).samples({1}, 1)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_command_that_hangs_is_ended_in_time_with_all_that_it_has_started(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! >child; echo waiting for a lock >&2; wait"
    began = time.monotonic()
    # What it has set about by then may still come: asking again is right.
    with pytest.raises(UnavailableError, match="has not ended after 2 s; its stderr ends with 'waiting for a lock'"):
        fleet(tmp_path, add=["sh", "-c", script, "{brokers}"], timeout=2).grow(4)
    assert time.monotonic() - began < 60
    child = int((tmp_path / "child").read_text())
    while runs(child):  # a signal takes a moment
        assert time.monotonic() - began < 60


def test_what_a_command_leaves_running_in_a_session_of_its_own_is_not_waited_for(tmp_path: Path) -> None:
    script = "setsid sleep 600 & echo $! >child"
    began = time.monotonic()
    fleet(tmp_path, add=["sh", "-c", script, "{brokers}"]).grow(4)
    assert time.monotonic() - began < 60
    psutil.Process(int((tmp_path / "child").read_text())).kill()
