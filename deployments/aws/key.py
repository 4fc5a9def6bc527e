"""The key that all data at rest is encrypted with."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
_THROUGH = ("dynamodb", "secretsmanager")


def make_key(scope: Construct, name: str) -> kms.Key:
    """Make the key, rotated each year.

    Whoever may use the standby table, or read a secret, may use the key for that, through DynamoDB or Secrets Manager
    only; so policies of roles need not name it (`kms:ViaService`,
    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html).
    """
    stack = Stack.of(scope)
    key = kms.Key(scope, "Key", alias=f"alias/{name}", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN)
    key.add_to_resource_policy(
        _allow(
            "ThroughServices",
            iam.AnyPrincipal(),
            [*_USE, "kms:CreateGrant"],
            {
                "StringEquals": {
                    "kms:ViaService": [f"{name}.{stack.region}.amazonaws.com" for name in _THROUGH],
                    "kms:CallerAccount": stack.account,
                }
            },
        )
    )
    key.add_to_resource_policy(
        _allow(
            "Logs",
            iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
            _USE,
            {
                "ArnLike": {
                    "kms:EncryptionContext:aws:logs:arn": f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:*"
                }
            },
        )
    )
    # To send alarms by the encrypted topic; who may send by that is said there.
    key.add_to_resource_policy(
        _allow("Alarms", iam.ServicePrincipal("cloudwatch.amazonaws.com"), ["kms:Decrypt", "kms:GenerateDataKey*"], {})
    )
    return key


def _allow(
    sid: str, who: iam.IPrincipal, actions: list[str], conditions: Mapping[str, Mapping[str, str | list[str]]]
) -> iam.PolicyStatement:
    return iam.PolicyStatement(sid=sid, principals=[who], actions=actions, resources=["*"], conditions=conditions)
