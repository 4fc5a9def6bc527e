"""Credentials of AWS that are not there are a mistake in the settings; the standby table has not even been asked."""

from __future__ import annotations

import os
from pathlib import Path

import boto3
import pytest

from redrive.errors import ConfigError
from redrive.standby.dynamo import DynamoStore


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account of whom boto3 finds nothing: no variables, no files, no machine of AWS."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps what another test had it find
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


def test_without_any_the_way_out_is_named() -> None:
    store = DynamoStore("standby", "eu-west-1")
    with pytest.raises(ConfigError, match="without credentials of AWS: set AWS_ACCESS_KEY_ID"):
        store.version("gate")
    with pytest.raises(ConfigError, match="without credentials of AWS"):
        store.create()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("AWS_ACCESS_KEY_ID", "half", "AWS_SECRET_ACCESS_KEY"), ("AWS_PROFILE", "nobody", "nobody")],
)
def test_half_of_them_or_a_profile_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=reason):
        DynamoStore("standby", "eu-west-1")
