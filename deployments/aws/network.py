"""The network: a VPC over the zones of the settings, with public, private and isolated subnets."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from redrive.config import AwsConfig

IN_PUBLIC = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC)
"""The gateway's load balancer, and NAT gateways; nothing else."""
FOR_TASKS = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
"""Programs: they reach AWS's services and the issuer of tokens, and nobody outside reaches them."""
FOR_DATA = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
"""Brokers and databases: no way out."""


class Network(Construct):
    """A VPC. DynamoDB and S3 are reached by gateway endpoints: events in an outage don't go through, or pay, NAT."""

    def __init__(self, scope: Construct, id: str, aws: AwsConfig) -> None:
        super().__init__(scope, id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=aws.zones,
            nat_gateways=len(aws.zones),  # one for all would be away with its zone
            subnet_configuration=[
                ec2.SubnetConfiguration(
                    name="public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=24,
                    map_public_ip_on_launch=False,
                ),
                ec2.SubnetConfiguration(name="tasks", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20),
                ec2.SubnetConfiguration(name="data", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=22),
            ],
            gateway_endpoints={
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
            },
        )
