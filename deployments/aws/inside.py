"""The load balancer within the VPC, before the schema registry and Prefect's server."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from deployments.aws.network import FOR_TASKS


class Inside(Construct):
    """One load balancer, a port for each service, which has to answer. HTTP: it is not reached from outside.

    Attributes:
        host: its name.
    """

    def __init__(self, scope: Construct, id: str, vpc: ec2.IVpc, group: ec2.SecurityGroup) -> None:
        super().__init__(scope, id)
        self._balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=vpc,
            internet_facing=False,
            security_group=group,
            vpc_subnets=FOR_TASKS,
            idle_timeout=Duration.minutes(10),  # Prefect's clients keep a connection for events
            drop_invalid_header_fields=True,
            deletion_protection=False,
        )
        self.host = self._balancer.load_balancer_dns_name

    def lead(self, name: str, port: int, service: ecs.FargateService, health: str) -> elb.ApplicationTargetGroup:
        """Lead a port to a service, whose container listens at the same one; ``health`` is the path it is asked at."""
        group = elb.ApplicationTargetGroup(
            self,
            f"{name}Targets",
            vpc=self._balancer.vpc,
            port=port,
            protocol=elb.ApplicationProtocol.HTTP,
            targets=[service.load_balancer_target(container_name="Main", container_port=port)],
            health_check=elb.HealthCheck(path=health, interval=Duration.seconds(10), timeout=Duration.seconds(5)),
            deregistration_delay=Duration.seconds(15),
        )
        self._balancer.add_listener(
            name, port=port, protocol=elb.ApplicationProtocol.HTTP, open=False, default_target_groups=[group]
        )
        return group
