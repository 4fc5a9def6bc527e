"""The platform of `deployments/aws/example.toml`, synthesised once for all of these tests; nothing is asked of AWS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

try:
    from deployments.aws.app import build
    from tests.aws.template import Platform
except ModuleNotFoundError as missing:
    raise pytest.UsageError(f"{missing}: these tests have packages of their own; run them by `make aws`") from missing

EXAMPLE = Path(__file__).parents[2] / "deployments/aws/example.toml"


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The three templates, with what AWS would fill in filled in."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("REDRIVE_")]:
            environment.delenv(name)
        environment.setenv("REDRIVE_CONFIG", str(EXAMPLE))
        return Platform(build(tmp_path_factory.mktemp("cdk")).synth())


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("REDRIVE_", "PREFECT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REDRIVE_CONFIG", str(EXAMPLE))
