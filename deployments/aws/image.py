"""The image with Redrive and its settings, which `cdk deploy` builds from the repository and brings to ECR."""

from __future__ import annotations

import json
from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs

from redrive.config import Config
from redrive.config.reading import find_file
from redrive.errors import ConfigError

ROOT = Path(__file__).parents[2]
HOME = "/redrive"
"""Where the repository is in the image."""


def image() -> ecs.ContainerImage:
    """Give the image; what goes into it stands in ``.dockerignore``."""
    return ecs.ContainerImage.from_asset(
        str(ROOT),
        file="deployments/aws/Dockerfile",
        platform=ecr_assets.Platform.LINUX_AMD64,
        ignore_mode=IgnoreMode.DOCKER,
        exclude=["cdk.out"],
    )


def settings_in_image() -> str:
    """Say where the file of the settings is in the image.

    Raises:
        ConfigError: it is outside of the repository, so it can't be copied there.
    """
    return f"{HOME}/{_settings()}"


def check_image(folder: Path, settings: Path | None = None) -> None:
    """See to it that the settings are among what goes into the image, with all the files that they name.

    Args:
        folder: where the templates are.
        settings: their file, relative to the repository; that of `settings_in_image` if not given.

    Raises:
        ConfigError: something would be missing there.
    """
    sources = {
        folder / image["source"]["directory"]
        for assets in folder.glob("*.assets.json")
        for image in json.loads(assets.read_text())["dockerImages"].values()
    }
    for source in sources:
        if mistakes := Config.check(source / (settings or _settings())):
            raise ConfigError(".dockerignore", f"leaves out of the image what the settings need: {mistakes[0]}")


def _settings() -> Path:
    file = find_file().resolve()
    if not file.is_relative_to(ROOT):
        raise ConfigError("REDRIVE_CONFIG", f"{file} is not in {ROOT}, from which the image is built; put it there")
    return file.relative_to(ROOT)
