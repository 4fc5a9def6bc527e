"""The image with Redrive and its settings, which `cdk deploy` builds from the repository and brings to ECR."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs

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
    file = find_file().resolve()
    if not file.is_relative_to(ROOT):
        raise ConfigError("REDRIVE_CONFIG", f"{file} is not in {ROOT}, from which the image is built; put it there")
    return f"{HOME}/{file.relative_to(ROOT)}"
