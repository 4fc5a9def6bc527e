"""Prefect's server, which keeps runs, schedules and automations; one, since it shares nothing with a second."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elb
from constructs import Construct

from deployments.aws.data_stack import DataStack
from deployments.aws.doors import PREFECT_PORT
from deployments.aws.environment import prefect_database
from deployments.aws.image import image
from deployments.aws.inside import Inside
from deployments.aws.leases import Leases
from deployments.aws.program import Program


def serve_prefect(scope: Construct, data: DataStack, cluster: ecs.ICluster, inside: Inside) -> ecs.FargateService:
    """Serve Prefect behind the inner load balancer."""
    variables, secrets = prefect_database(data)
    leases = Leases(scope, "Leases", data)
    program = Program(
        scope, "Prefect", image(), ["prefect", "server", "start"],
        key=data.key, environment=variables | server_settings(inside.host) | leases.environment, secrets=secrets,
        port=PREFECT_PORT, cpu=1024, memory_mib=2048,
    )  # fmt: skip
    leases.mount(program)
    service = program.serve(cluster, data.doors.prefect, one_at_a_time=True)
    targets = inside.lead("Prefect", PREFECT_PORT, service, "/api/health")
    data.alarms.away(
        "prefect-away", targets.metrics.healthy_host_count(period=Duration.minutes(1)), minutes=5, scope=scope,
        means="Prefect's server does not answer: no job starts, no cluster is looked at, no replay begins.",
    )  # fmt: skip
    # Its health says nothing of its database; were it asked about that, it would be ended when that is busy.
    data.alarms.above(
        "prefect-5xx",
        targets.metrics.http_code_target(elb.HttpCodeTarget.TARGET_5XX_COUNT, period=Duration.minutes(1)),
        0, minutes=5, scope=scope,
        means="Prefect's server answers with 5xx, as when its database is away: no job starts, no replay begins.",
    )  # fmt: skip
    return service


def server_settings(host: str) -> dict[str, str]:
    """Give the server's settings, but for its database and leases; ``host`` is what browsers know it as."""
    return {
        "PREFECT_SERVER_API_HOST": "0.0.0.0",
        "PREFECT_SERVER_API_PORT": str(PREFECT_PORT),
        # Where the UI looks for it.
        "PREFECT_UI_API_URL": f"http://{host}:{PREFECT_PORT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Else runs are kept for ever.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
