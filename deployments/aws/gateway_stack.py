"""The third stack: the door for partners. Deployed when topics and schemas are there, which it starts with."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from deployments.aws import environment
from deployments.aws.alarms import metric
from deployments.aws.collector import collect
from deployments.aws.data_stack import DataStack
from deployments.aws.image import image
from deployments.aws.jobs_stack import JobsStack
from deployments.aws.network import IN_PUBLIC
from deployments.aws.program import Program
from redrive.config import AwsConfig, Config


class GatewayStack(Stack):
    """The gateway, behind a load balancer that ends TLS and is open to the world."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        config: Config,
        aws: AwsConfig,
        *,
        data: DataStack,
        jobs: JobsStack,
        **stack: Any,
    ) -> None:
        super().__init__(scope, id, description="Redrive: the gateway for partners", **stack)
        door = config.door()
        # Longer than the gateway takes to answer, or partners would hear of a failure that is none.
        longest = round(door.answer_within + door.body_timeout)
        idle = longest + 20
        program = Program(
            self, "Gateway", image(), ["redrive", "gateway"], key=data.key,
            environment=environment.platform(data, jobs.inside.host) | {
                "REDRIVE_GATEWAY__HOST": "0.0.0.0",
                # The load balancer ends resting connections, and not the gateway just as a request comes.
                "REDRIVE_GATEWAY__KEEP_ALIVE": str(max(door.keep_alive, idle + 15)),
            },
            policies=data.roles.policies("gateway"), port=door.port, cpu=1024, memory_mib=2048,
            stop_seconds=round(door.stops_within),
        )  # fmt: skip
        if door.admin_port:
            collect(program, door.admin_port)
        service = program.serve(jobs.cluster, data.doors.gateway, count=aws.gateways)
        balancer = elb.ApplicationLoadBalancer(
            self,
            "Balancer",
            vpc=data.vpc,
            internet_facing=True,
            security_group=data.doors.balancer,
            vpc_subnets=IN_PUBLIC,
            drop_invalid_header_fields=True,
            deletion_protection=True,
            idle_timeout=Duration.seconds(idle),
        )
        targets = elb.ApplicationTargetGroup(
            self,
            "Targets",
            vpc=data.vpc,
            port=door.port,
            protocol=elb.ApplicationProtocol.HTTP,
            targets=[service.load_balancer_target(container_name="Main", container_port=door.port)],
            health_check=elb.HealthCheck(path="/readyz", interval=Duration.seconds(5), timeout=Duration.seconds(3)),
            deregistration_delay=Duration.seconds(longest),
        )
        balancer.add_listener(
            "Tls",
            port=443,
            protocol=elb.ApplicationProtocol.HTTPS,
            ssl_policy=elb.SslPolicy.RECOMMENDED_TLS,
            certificates=[acm.Certificate.from_certificate_arn(self, "Certificate", aws.certificate or "")],
            open=False,
            default_target_groups=[targets],
        )
        self._watch(data, balancer, targets)
        CfnOutput(self, "Host", value=balancer.load_balancer_dns_name, description="point the certificate's name here")

    def _watch(
        self, data: DataStack, balancer: elb.ApplicationLoadBalancer, targets: elb.ApplicationTargetGroup
    ) -> None:
        of = {"LoadBalancer": balancer.load_balancer_full_name}
        for about, name in (
            ("gateway-5xx", "HTTPCode_Target_5XX_Count"),
            ("gateway-unreached", "HTTPCode_ELB_5XX_Count"),
        ):
            data.alarms.above(
                about, metric("AWS/ApplicationELB", name, of, "Sum"), 5, minutes=3, scope=self,
                means="Partners get answers of 5xx, and send their events again: look into the gateway's log.",
            )  # fmt: skip
        data.alarms.away(
            "gateway-unready", targets.metrics.healthy_host_count(period=Duration.minutes(1)), minutes=2, scope=self,
            means="No gateway is ready: partners can't publish.",
        )  # fmt: skip
