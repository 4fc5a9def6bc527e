"""How metrics come to CloudWatch: a container beside a program reads what that tells Prometheus, and passes it on.

It is the OpenTelemetry Collector as AWS distributes it. Its exporter writes metrics as lines of a log, of which
CloudWatch makes metrics (embedded metric format), in the namespace ``Redrive``, with Prometheus' labels as dimensions.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_logs as logs

from deployments.aws.program import Program

NAMESPACE = "Redrive"
_IMAGE = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.1"


def collect(program: Program, port: int) -> None:
    """Have what a program's task tells Prometheus on a port of its own passed on to CloudWatch each minute.

    The program goes on if this ends; ECS then starts it again.
    """
    log = logs.LogGroup(
        program,
        "Metrics",
        encryption_key=program.key,
        retention=logs.RetentionDays.ONE_WEEK,  # metrics are made of it as it comes
        removal_policy=RemovalPolicy.DESTROY,
    )
    log.grant_write(program.task.task_role)
    stack = Stack.of(program)
    program.task.add_container(
        "Collector",
        image=ecs.ContainerImage.from_registry(_IMAGE),
        essential=False,
        enable_restart_policy=True,
        restart_attempt_period=Duration.minutes(1),
        memory_limit_mib=256,
        environment={"AOT_CONFIG_CONTENT": stack.to_json_string(settings(port, log.log_group_name, stack.region))},
        logging=program.logging("collector"),
    )


def settings(port: int, log_group: str, region: str) -> dict[str, Any]:
    """Give the collector's settings: Redrive's own metrics, and none of Python's, as each costs by the month."""
    scraped = {
        "job_name": "redrive",
        "scrape_interval": "60s",
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }
    sent = {
        "namespace": NAMESPACE,
        "region": region,
        "log_group_name": log_group,
        "log_stream_name": "metrics",
        "dimension_rollup_option": "NoDimensionRollup",
    }
    wanted = {
        "include": {"match_type": "regexp", "metric_names": ["^redrive_.+"]},
        "exclude": {"match_type": "regexp", "metric_names": [".+_created"]},
    }
    return {
        "receivers": {"prometheus": {"config": {"scrape_configs": [scraped]}}},
        "processors": {"filter": {"metrics": wanted}},
        "exporters": {"awsemf": sent},
        "service": {
            "pipelines": {"metrics": {"receivers": ["prometheus"], "processors": ["filter"], "exporters": ["awsemf"]}}
        },
    }
