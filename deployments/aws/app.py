"""The app: three stacks, to be deployed in this order; the last one only if there is a gateway in the settings."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, Environment

from deployments.aws.data_stack import DataStack
from deployments.aws.gateway_stack import GatewayStack
from deployments.aws.jobs_stack import JobsStack
from redrive.config import AwsConfig, Config
from redrive.errors import ConfigError


def build(folder: str | Path) -> App:
    """Lay the platform out, by the settings that `Config.load` finds; the templates are to go to ``folder``.

    Raises:
        ConfigError: there is a mistake in them, they say nothing about AWS, or their file can't be in the image.
    """
    config = Config.load()
    aws = on_aws(config)
    app = App(outdir=str(folder), analytics_reporting=False)
    where = Environment(account=aws.account, region=config.standby.region)
    data = DataStack(app, f"{aws.name}-data", config, aws, env=where)
    jobs = JobsStack(app, f"{aws.name}-jobs", config, aws, data, env=where)
    if config.gateway:
        GatewayStack(app, f"{aws.name}-gateway", config, aws, data=data, jobs=jobs, env=where)
    return app


def on_aws(config: Config) -> AwsConfig:
    """Give the section about AWS.

    Raises:
        ConfigError: there is none.
    """
    if config.aws is None:
        raise ConfigError("aws", "is missing; say there which account and which availability zones")
    return config.aws
