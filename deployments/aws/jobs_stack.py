"""The second stack: the schema registry, Prefect and what runs the jobs."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from deployments.aws import environment
from deployments.aws.alarm_events import tell_prefect
from deployments.aws.alarms import metric
from deployments.aws.collector import collect
from deployments.aws.data_stack import DataStack
from deployments.aws.image import image
from deployments.aws.inside import Inside
from deployments.aws.network import FOR_TASKS
from deployments.aws.prefect import serve_prefect
from deployments.aws.program import Program
from deployments.aws.registry import serve_registry
from deployments.aws.roles import jobs
from deployments.aws.run_worker import HEALTH_CHECK
from redrive.config import AwsConfig, Config

# Answers when Prefect's worker has asked for runs within the last minute. While Prefect is away the worker is started
# again and again, and each time counts as well for a minute: only one that hangs is unhealthy ten times in a row. Its
# task is then ended, and another one started.
_POLLS = ecs.HealthCheck(
    command=["CMD", "python", "-c", HEALTH_CHECK],
    interval=Duration.seconds(60),
    timeout=Duration.seconds(20),
    retries=10,
    start_period=Duration.seconds(120),
)


class JobsStack(Stack):
    """Services on ECS, and the task that sets the platform up.

    Attributes:
        cluster: of ECS.
        inside: the load balancer before registry and Prefect.
    """

    def __init__(
        self, scope: Construct, id: str, config: Config, aws: AwsConfig, data: DataStack, **stack: Any
    ) -> None:
        super().__init__(scope, id, description="Redrive: schema registry, Prefect, jobs", **stack)
        self.cluster = ecs.Cluster(self, "Cluster", vpc=data.vpc)
        self.inside = Inside(self, "Inside", data.vpc, data.doors.inside)
        serve_registry(self, data, self.cluster, self.inside)
        server = serve_prefect(self, data, self.cluster, self.inside)
        # It would wait for the server by itself, but its log would begin with complaints.
        self._run_jobs(config, data).node.add_dependency(server)
        self._set_up(aws, data)
        for name in data.clusters:
            tell_prefect(self, data, self.inside, name)
        CfnOutput(self, "PrefectUi", value=f"http://{self.inside.host}:4200", description="from within the VPC")

    def _run_jobs(self, config: Config, data: DataStack) -> ecs.FargateService:
        ledger, secrets = environment.ledger(data)
        told = self._found(data) | ledger
        worker = Program(
            self, "Worker", image(), ["python", "-m", "deployments.aws.run_worker"],
            key=data.key, environment=told, secrets=secrets, policies=data.roles.policies(*jobs()),
            cpu=2048, memory_mib=8192,
            stop_seconds=120,  # all that ECS gives; runs and worker have 40 s each, and are killed then
            health=_POLLS,
        )  # fmt: skip
        if port := config.jobs.admin_port:
            worker.task.add_container(
                "Metrics", image=image(), command=["redrive", "metrics"], environment=told, secrets=secrets,
                essential=False, enable_restart_policy=True, restart_attempt_period=Duration.minutes(1),
                memory_limit_mib=512, logging=worker.logging("metrics"),
            )  # fmt: skip
            collect(worker, port)
        service = worker.serve(self.cluster, data.doors.worker)
        # No load balancer asks it anything. Fargate tells its CPU each minute: without a task there are no samples
        # (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cloudwatch-metrics.html).
        about = {"ClusterName": self.cluster.cluster_name, "ServiceName": service.service_name}
        data.alarms.away(
            "worker-away", metric("AWS/ECS", "CPUUtilization", about, "SampleCount"), minutes=10, scope=self,
            means="No worker runs: no job starts, no cluster is looked at, what producers stored is not replayed.",
        )  # fmt: skip
        return service

    def _set_up(self, aws: AwsConfig, data: DataStack) -> None:
        task = Program(
            self, "SetUp", image(), ["python", "-m", "deployments.aws.set_up"], key=data.key,
            environment=self._found(data),
            policies=data.roles.policies("administrator"), family=f"{aws.name}-set-up", memory_mib=2048,
        )  # fmt: skip
        where = data.vpc.select_subnets(subnet_type=FOR_TASKS.subnet_type).subnet_ids
        network = f"subnets=[{','.join(where)}],securityGroups=[{data.doors.operators.security_group_id}]"
        command = f"aws ecs run-task --cluster {self.cluster.cluster_name} --launch-type FARGATE "
        command += f"--task-definition {task.task.family} --network-configuration 'awsvpcConfiguration={{{network}}}'"
        CfnOutput(self, "SetUpCommand", value=command, description="sets the platform up; run it after each deployment")

    def _found(self, data: DataStack) -> dict[str, str]:
        """Give the variables by which a program finds Kafka, the registry and Prefect."""
        return environment.platform(data, self.inside.host) | environment.prefect(self.inside.host)
