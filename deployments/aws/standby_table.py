"""The standby table, just as `redrive.standby.dynamo` makes it elsewhere."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct


def make_standby_table(scope: Construct, name: str, key: kms.Key) -> dynamodb.Table:
    """Make the table: paid by request, since it is idle but in an outage; restorable to any second of 35 days; kept."""
    return dynamodb.Table(
        scope,
        "StandbyTable",
        table_name=name,
        partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
        sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.NUMBER),
        time_to_live_attribute="expires",
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=key,
        deletion_protection=True,
        removal_policy=RemovalPolicy.RETAIN,
    )
