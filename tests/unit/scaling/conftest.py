"""A cluster on paper for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from redrive.ledger import Ledger
from tests.unit.scaling.on_paper import Paper, paper


@pytest.fixture(scope="session")
def new_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger without entries, to be copied: to make its tables takes longer than any of these tests."""
    folder = tmp_path_factory.mktemp("ledger")
    Ledger.open(f"sqlite:///{folder}/ledger.db").close()
    return folder


@pytest.fixture
def town(tmp_path: Path, new_ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paper]:
    shutil.copytree(new_ledger, tmp_path, dirs_exist_ok=True)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        yield paper(tmp_path, ledger, monkeypatch)
