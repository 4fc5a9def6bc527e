"""A program in a container on Fargate: once, as a task, or kept running, as a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from deployments.aws.network import FOR_TASKS


class Program(Construct):
    """A task definition of one container, with a log of its own, and a role that has the given policies only.

    Attributes:
        key: what its logs are encrypted with.
        task: the definition.
    """

    def __init__(
        self, scope: Construct, id: str, image: ecs.ContainerImage, command: Sequence[str] | None,
        *, key: kms.Key, environment: Mapping[str, str], secrets: Mapping[str, ecs.Secret] | None = None,
        policies: Sequence[iam.IManagedPolicy] = (), family: str | None = None, port: int | None = None,
        cpu: int = 512, memory_mib: int = 1024, stop_seconds: int = 30, health: ecs.HealthCheck | None = None,
    ) -> None:  # fmt: skip
        super().__init__(scope, id)
        self.key = key
        self._asked = port is not None
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            description=f"Redrive: what {id} may do",
            managed_policies=list(policies),
        )
        self.task = ecs.FargateTaskDefinition(
            self, "Task", cpu=cpu, memory_limit_mib=memory_mib, task_role=role, family=family
        )
        self._log = logs.LogGroup(
            self,
            "Log",
            encryption_key=key,
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.container = self.task.add_container(
            "Main",
            image=image,
            command=list(command) if command else None,
            environment=dict(environment),
            secrets=dict(secrets or {}),
            logging=self.logging(id.lower()),
            port_mappings=[ecs.PortMapping(container_port=port)] if port else None,
            stop_timeout=Duration.seconds(stop_seconds),
            health_check=health,
            # Its first process hands signals on, and clears away what has ended and lost its parent.
            linux_parameters=ecs.LinuxParameters(self, "Linux", init_process_enabled=True),
        )

    def logging(self, prefix: str) -> ecs.LogDriver:
        """Have a container of the task write to its log; ``prefix`` tells it from others there."""
        return ecs.LogDrivers.aws_logs(stream_prefix=prefix, log_group=self._log)

    def serve(
        self, cluster: ecs.ICluster, group: ec2.ISecurityGroup, *, count: int = 1, one_at_a_time: bool = False
    ) -> ecs.FargateService:
        """Keep so many running. A new version that does not come up is taken back.

        Args:
            cluster: where.
            group: its security group.
            count: how many.
            one_at_a_time: stop the old one before the new one starts, since there must not be two.
        """
        return ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=self.task,
            desired_count=count,
            min_healthy_percent=0 if one_at_a_time else 100,
            max_healthy_percent=100 if one_at_a_time else 200,
            # Until then a load balancer's opinion does not count: databases are brought up to date at the start.
            health_check_grace_period=Duration.minutes(5) if self._asked else None,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            security_groups=[group],
            vpc_subnets=FOR_TASKS,
        )
