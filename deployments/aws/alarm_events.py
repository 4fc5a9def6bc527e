"""The alarm about a cluster's CPU as an event of Prefect, for the automation of `broker-scaling`."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambdas
from aws_cdk import aws_logs as logs
from constructs import Construct

from deployments.aws.data_alarms import cpu_alarm
from deployments.aws.data_stack import DataStack
from deployments.aws.doors import PREFECT_PORT
from deployments.aws.inside import Inside
from deployments.aws.network import FOR_TASKS

CODE = Path(__file__).with_name("tell_prefect.py")


def tell_prefect(scope: Construct, data: DataStack, inside: Inside, cluster: str) -> None:
    """Have a function tell Prefect when the alarm about the cluster's CPU goes off."""
    log = logs.LogGroup(
        scope,
        f"TellLog-{cluster}",
        encryption_key=data.key,
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    tell = lambdas.Function(
        scope,
        f"Tell-{cluster}",
        runtime=lambdas.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambdas.Code.from_inline(CODE.read_text()),
        environment={"PREFECT_API_URL": f"http://{inside.host}:{PREFECT_PORT}/api", "CLUSTER": cluster},
        timeout=Duration.seconds(20),
        vpc=data.vpc,
        vpc_subnets=FOR_TASKS,
        security_groups=[data.doors.alarms],
        log_group=log,
    )
    alarm = data.alarms.name(cpu_alarm(cluster))
    stack = Stack.of(scope)
    events.Rule(
        scope,
        f"Alarm-{cluster}",
        event_pattern=events.EventPattern(
            source=["aws.cloudwatch"],
            detail_type=["CloudWatch Alarm State Change"],
            resources=[f"arn:{stack.partition}:cloudwatch:{stack.region}:{stack.account}:alarm:{alarm}"],
            detail={"state": {"value": ["ALARM"]}},
        ),
        targets=[targets.LambdaFunction(tell, retry_attempts=3)],
    )
