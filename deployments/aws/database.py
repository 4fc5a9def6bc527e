"""A PostgreSQL database on Amazon RDS: of the ledger, the registry or Prefect."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from deployments.aws.network import FOR_DATA

STORAGE_GB = 20
VERSION = rds.PostgresEngineVersion.VER_17_9
CA_FILE = "/etc/ssl/certs/rds.pem"
"""Where the image has the certificates of RDS."""


class Database(Construct):
    """An instance with a standby in another zone, backups of 14 days, and TLS only; its password is made by AWS.

    Attributes:
        name: of the database, and of its user.
        host: its address.
        secret: where its password is, in the field `password`.
        instance: itself.
    """

    def __init__(self, scope: Construct, name: str, *, vpc: ec2.IVpc, group: ec2.SecurityGroup, key: kms.Key) -> None:
        super().__init__(scope, f"Database-{name}")
        self.name = name
        engine = rds.DatabaseInstanceEngine.postgres(version=VERSION)
        secret = rds.DatabaseSecret(self, "Secret", username=name, encryption_key=key)
        self.instance = rds.DatabaseInstance(
            self,
            "Instance",
            engine=engine,
            database_name=name,
            credentials=rds.Credentials.from_secret(secret),
            instance_type=ec2.InstanceType("t4g.small"),
            allocated_storage=STORAGE_GB,
            max_allocated_storage=10 * STORAGE_GB,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=key,
            multi_az=True,
            backup_retention=Duration.days(14),
            delete_automated_backups=False,
            copy_tags_to_snapshot=True,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
            auto_minor_version_upgrade=True,
            cloudwatch_logs_exports=["postgresql"],
            parameters={"rds.force_ssl": "1"},
            vpc=vpc,
            vpc_subnets=FOR_DATA,
            security_groups=[group],
        )
        self.host = self.instance.db_instance_endpoint_address
        # By its ARN only: else the key's policy would name each program that reads it, in whichever stack.
        self.secret = secretsmanager.Secret.from_secret_complete_arn(self, "Password", secret.secret_arn)
