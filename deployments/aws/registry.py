"""The schema registry: Apicurio, with its schemas in a database on RDS."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from deployments.aws.data_stack import DataStack
from deployments.aws.database import Database
from deployments.aws.doors import DATABASE_PORT, REGISTRY_PORT
from deployments.aws.inside import Inside
from deployments.aws.program import Program

VERSION = "3.3.3"
"""The one that the local stack has, which Redrive is tested with."""
HEALTH = "/apis/ccompat/v7/subjects"
"""What it answers only when its database does."""


def serve_registry(scope: Construct, data: DataStack, cluster: ecs.ICluster, inside: Inside) -> None:
    """Serve the registry, two of them, behind the inner load balancer."""
    environment, secrets = settings(data.registry)
    program = Program(
        scope, "Registry", ecs.ContainerImage.from_registry(f"apicurio/apicurio-registry:{VERSION}"), None,
        key=data.key, environment=environment, secrets=secrets, port=REGISTRY_PORT, cpu=512, memory_mib=2048,
    )  # fmt: skip
    service = program.serve(cluster, data.doors.registry, count=2)
    targets = inside.lead("Registry", REGISTRY_PORT, service, HEALTH)
    data.alarms.away(
        "registry-away", targets.metrics.healthy_host_count(period=Duration.minutes(1)), minutes=3, scope=scope,
        means="The schema registry does not answer. What has its schemas goes on; nothing new can start.",
    )  # fmt: skip


def settings(database: Database) -> tuple[dict[str, str], dict[str, ecs.Secret]]:
    """Give its variables, and its secret. Its image has no certificates of RDS, so it encrypts, and checks none."""
    environment = {
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "postgresql",
        "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{database.host}:{DATABASE_PORT}/{database.name}?sslmode=require",
        "APICURIO_DATASOURCE_USERNAME": database.name,
        "QUARKUS_HTTP_PORT": str(REGISTRY_PORT),
    }
    return environment, {"APICURIO_DATASOURCE_PASSWORD": ecs.Secret.from_secrets_manager(database.secret, "password")}
