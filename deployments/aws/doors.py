"""Who may talk to whom: every security group, and every rule but those from a load balancer to its own targets."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

KAFKA_PORT = 9098  # Amazon MSK's for IAM, within the VPC
DATABASE_PORT = 5432
REGISTRY_PORT = 8080
PREFECT_PORT = 4200


class Doors(Construct):
    """The security groups.

    Attributes:
        kafka: brokers.
        ledger_database: likewise of `registry_database`, `prefect_database`.
        registry: the schema registry.
        prefect: Prefect's server.
        inside: the load balancer before both.
        worker: what runs the jobs.
        gateway: the door for partners.
        balancer: the load balancer before it, the only thing that is open to the world.
        alarms: what tells Prefect of alarms.
        applications: for your producers and consumers: give it to them, too.
        operators: for people: a bastion, a VPN; and for the task that sets the platform up.
    """

    def __init__(self, scope: Construct, id: str, vpc: ec2.IVpc) -> None:
        super().__init__(scope, id)
        self._vpc = vpc
        self.kafka = self._group("Kafka", "brokers")
        self.ledger_database = self._group("LedgerDatabase", "database of the ledger", outbound=False)
        self.registry_database = self._group("RegistryDatabase", "database of the registry", outbound=False)
        self.prefect_database = self._group("PrefectDatabase", "database of Prefect", outbound=False)
        self.registry = self._group("Registry", "the schema registry")
        self.prefect = self._group("Prefect", "server of Prefect")
        self.inside = self._group("Inside", "the load balancer before registry and Prefect")
        self.worker = self._group("Worker", "what runs the jobs")
        self.gateway = self._group("Gateway", "the door for partners")
        self.balancer = self._group("Balancer", "the load balancer before the gateway")
        self.alarms = self._group("Alarms", "what tells Prefect of alarms")
        self.applications = self._group("Applications", "producers and consumers")
        self.operators = self._group("Operators", "people, and the task that sets the platform up")

        self._open(self.kafka, KAFKA_PORT, self.worker, self.gateway, self.applications, self.operators)
        self._open(self.ledger_database, DATABASE_PORT, self.worker, self.operators)
        self._open(self.registry_database, DATABASE_PORT, self.registry)
        self._open(self.prefect_database, DATABASE_PORT, self.prefect)
        self._open(self.inside, REGISTRY_PORT, self.worker, self.gateway, self.applications, self.operators)
        self._open(self.inside, PREFECT_PORT, self.worker, self.alarms, self.operators)
        self.balancer.add_ingress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "partners")

    def _group(self, id: str, description: str, *, outbound: bool = True) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(
            self, id, vpc=self._vpc, description=f"Redrive: {description}", allow_all_outbound=outbound
        )

    def _open(self, to: ec2.SecurityGroup, port: int, *sources: ec2.SecurityGroup) -> None:
        for source in sources:
            to.add_ingress_rule(source, ec2.Port.tcp(port), f"from {source.node.id}")
