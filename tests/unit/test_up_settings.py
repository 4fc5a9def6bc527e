"""`redrive up` looks at the settings before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments import up
from redrive.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDRIVE_CONFIG", raising=False)
    monkeypatch.setattr(up, "_bring_up", lambda *_: pytest.fail("something was started"))


@pytest.mark.parametrize("local", [True, False])
def test_without_settings_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local: bool) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no file"):
        up.up(tmp_path / "data", local=local)


def test_a_mistake_in_the_settings_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "redrive.toml").write_text("[typo]\n")
    with pytest.raises(ConfigError, match="clusters: is missing"):
        up.up(tmp_path / "data", local=False)
