"""What programs on AWS are told: the settings file of the image, and over it what is known only when all is there."""

from __future__ import annotations

from aws_cdk import aws_ecs as ecs

from deployments.aws.data_stack import DataStack
from deployments.aws.database import CA_FILE
from deployments.aws.doors import DATABASE_PORT, PREFECT_PORT, REGISTRY_PORT
from deployments.aws.image import settings_in_image


def platform(data: DataStack, inside: str) -> dict[str, str]:
    """Give the variables by which a program finds Kafka and the registry; ``inside`` is the inner load balancer."""
    variables = {
        "REDRIVE_CONFIG": settings_in_image(),
        "REDRIVE_REGISTRY__URL": f"http://{inside}:{REGISTRY_PORT}/apis/ccompat/v7",
    }
    for name, cluster in data.clusters.items():
        at = f"REDRIVE_CLUSTERS__{name.upper()}"
        variables[f"{at}__BOOTSTRAP"] = cluster.bootstrap
        variables[f"{at}__FLEET__KIND"] = "msk"
        variables[f"{at}__FLEET__ARN"] = cluster.arn
    return variables


def ledger(data: DataStack) -> tuple[dict[str, str], dict[str, ecs.Secret]]:
    """Give the variables, and the secret, by which a program comes to the ledger."""
    database = data.ledger
    tls = f"sslmode=verify-full&sslrootcert={CA_FILE}"
    url = f"postgresql://{database.name}@{database.host}:{DATABASE_PORT}/{database.name}?{tls}"
    variables = {"REDRIVE_LEDGER__URL": url, "REDRIVE_LEDGER__PASSWORD__ENV": "LEDGER_PASSWORD"}
    return variables, {"LEDGER_PASSWORD": ecs.Secret.from_secrets_manager(database.secret, "password")}


def prefect(inside: str) -> dict[str, str]:
    """Give the variables by which a program comes to Prefect's server."""
    return {"PREFECT_API_URL": f"http://{inside}:{PREFECT_PORT}/api", "DO_NOT_TRACK": "1"}


def prefect_database(data: DataStack) -> tuple[dict[str, str], dict[str, ecs.Secret]]:
    """Give the variables, and the secret, by which Prefect's server comes to its database."""
    database, tls = data.prefect, "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS"
    variables = {
        "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
        "PREFECT_SERVER_DATABASE_HOST": database.host,
        "PREFECT_SERVER_DATABASE_PORT": str(DATABASE_PORT),
        "PREFECT_SERVER_DATABASE_USER": database.name,
        "PREFECT_SERVER_DATABASE_NAME": database.name,
        f"{tls}_ENABLED": "true",
        f"{tls}_CA_FILE": CA_FILE,
    }
    password = ecs.Secret.from_secrets_manager(database.secret, "password")
    return variables, {"PREFECT_SERVER_DATABASE_PASSWORD": password}
