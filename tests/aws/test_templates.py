"""The templates by cfn-lint's rules, and the command that writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from deployments.aws.__main__ import main
from tests.aws.template import REGION, Platform

EXPLAINED = {
    "W3010": "zones stand in the template, since they stand in the settings",
    "W3005": "the CDK names a dependency that CloudFormation sees by itself",
    "W6001": "the command that sets up is printed by the stack that has the task, of subnets that another one has",
}


def test_cfn_lint_finds_no_error_and_no_warning_that_is_not_explained(platform: Platform) -> None:
    found = [
        f"{stack}: {one.rule.id} {one.message}"
        for stack, artifact in platform.artifacts.items()
        for one in lint(Path(artifact.template_full_path).read_text(), regions=[REGION], config=ManualArgs())
        if one.rule.id not in EXPLAINED
    ]
    assert found == []


def test_settings_without_aws_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("REDRIVE_CONFIG", str(Path(__file__).parents[2] / "redrive.toml"))
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path))
    assert main() == 2
    said = capsys.readouterr().err
    assert said == "redrive: aws: is missing; say there which account and which availability zones\n"
    assert not list(tmp_path.iterdir())


def test_settings_that_the_image_would_lack_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    example = Path(__file__).parents[2] / "deployments/aws/example.toml"
    settings = example.read_text().replace("../../schemas", str(example.parents[2] / "schemas"))
    (tmp_path / "redrive.toml").write_text(settings)
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "redrive.toml"))
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path / "out"))
    assert main() == 2
    assert "from which the image is built; put it there" in capsys.readouterr().err
