"""The first stack: what keeps data. It is protected from deletion, and changes seldom."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from deployments.aws.alarms import Alarms
from deployments.aws.data_alarms import watch_database, watch_kafka, watch_table
from deployments.aws.database import Database
from deployments.aws.doors import Doors
from deployments.aws.kafka_cluster import KafkaCluster
from deployments.aws.key import make_key
from deployments.aws.network import Network
from deployments.aws.roles import Roles
from deployments.aws.standby_table import make_standby_table
from redrive.config import AwsConfig, Config


class DataStack(Stack):
    """Network, key, brokers, standby table, databases, policies of roles; alarms about them.

    Attributes:
        vpc: the network.
        doors: the security groups.
        key: what encrypts.
        clusters: by their names in the settings.
        table: the standby table.
        ledger: likewise of `registry`, `prefect`: the databases.
        roles: the policies.
        alarms: where alarms go.
    """

    def __init__(self, scope: Construct, id: str, config: Config, aws: AwsConfig, **stack: Any) -> None:
        super().__init__(scope, id, termination_protection=True, description="Redrive: what keeps data", **stack)
        self.vpc = Network(self, "Network", aws).vpc
        self.doors = Doors(self, "Doors", self.vpc)
        self.key = make_key(self, aws.name)
        self.alarms = Alarms(self, "Alarms", aws, self.key)
        self.clusters = {
            name: KafkaCluster(
                self, name, f"{aws.name}-{name}", aws.msk(name), vpc=self.vpc, group=self.doors.kafka, key=self.key
            )
            for name in sorted(config.clusters)
        }
        self.table = make_standby_table(self, config.standby.table, self.key)
        self.ledger = self._database("ledger", self.doors.ledger_database)
        self.registry = self._database("registry", self.doors.registry_database)
        self.prefect = self._database("prefect", self.doors.prefect_database)
        arns = {name: cluster.arn for name, cluster in self.clusters.items()}
        self.roles = Roles(self, "Roles", config, aws, arns)
        for name, cluster in self.clusters.items():
            watch_kafka(self.alarms, name, cluster.msk_name)
            CfnOutput(self, f"Arn-{name}", value=cluster.arn, description=f"clusters.{name}.fleet.arn")
            CfnOutput(self, f"Bootstrap-{name}", value=cluster.bootstrap, description=f"clusters.{name}.bootstrap")
        watch_table(self.alarms, self.table)
        for database in (self.ledger, self.registry, self.prefect):
            watch_database(self.alarms, database)
        for who, group in (("Applications", self.doors.applications), ("Operators", self.doors.operators)):
            CfnOutput(
                self, f"{who}Group", value=group.security_group_id, description=f"security group for {who.lower()}"
            )

    def _database(self, name: str, group: Any) -> Database:
        return Database(self, name, vpc=self.vpc, group=group, key=self.key)
