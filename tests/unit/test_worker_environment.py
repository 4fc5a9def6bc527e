"""What a worker, and each of its runs, finds in its environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.deploy import ROOT
from deployments.worker import worker_environment


def test_what_sets_programs_up_by_their_path_sets_up_runs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `opentelemetry-instrument` does: by a sitecustomize in a folder of its own."""
    (tmp_path / "sitecustomize.py").write_text("print('set up')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = ["python", "-c", "import sys, flows; print(flows.__file__, sys.executable)"]
    said = subprocess.run(
        command, env={**os.environ, **worker_environment({})}, cwd=tmp_path, capture_output=True, text=True, check=True,
        timeout=60,
    ).stdout.splitlines()  # fmt: skip
    assert said[0] == "set up"
    assert said[1].startswith(f"{ROOT / 'flows'}")
    assert Path(said[1].split()[-1]).parent == Path(sys.executable).parent


def test_without_a_path_there_is_no_empty_part_in_it_which_would_be_the_current_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert worker_environment({})["PYTHONPATH"] == str(ROOT)


def test_runs_find_the_settings_from_whichever_folder_they_begin_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDRIVE_CONFIG", raising=False)
    assert worker_environment({})["REDRIVE_CONFIG"] == str(ROOT / "redrive.toml")
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "mine.toml"))
    assert worker_environment({})["REDRIVE_CONFIG"] == str(tmp_path / "mine.toml")
    assert worker_environment({"REDRIVE_CONFIG": "/etc/redrive.toml"})["REDRIVE_CONFIG"] == "/etc/redrive.toml"
