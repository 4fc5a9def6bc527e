"""A cluster of the settings, as one of Amazon MSK."""

from __future__ import annotations

from aws_cdk import Fn, RemovalPolicy, Stack, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_msk as msk
from aws_cdk import custom_resources as cr
from constructs import Construct

from deployments.aws.network import FOR_DATA
from redrive.config import MskConfig

KAFKA_VERSION = "4.1.x.kraft"
"""Of those that MSK has for standard brokers, the one nearest to what Redrive is tested with."""


class KafkaCluster(Construct):
    """Brokers that take IAM over TLS only, encrypted by the platform's key, kept if the stack is deleted.

    Attributes:
        name: in the settings.
        msk_name: what MSK calls it, and CloudWatch.
        arn: in parts, so that ARNs of topics can be made of it; its last part is known only when it is there.
        bootstrap: addresses of brokers, known only then, too: CloudFormation does not tell them.
    """

    def __init__(
        self, scope: Construct, name: str, msk_name: str, wanted: MskConfig,
        *, vpc: ec2.IVpc, group: ec2.SecurityGroup, key: kms.Key,
    ) -> None:  # fmt: skip
        super().__init__(scope, f"Kafka-{name}")
        self.name, self.msk_name = name, msk_name
        brokers = wanted.brokers or 0
        log = logs.LogGroup(
            self, "Log", encryption_key=key, retention=logs.RetentionDays.ONE_MONTH, removal_policy=RemovalPolicy.RETAIN
        )
        # For whichever version of Kafka: with a list, another version would be another configuration, which
        # CloudFormation can't make under the same name.
        settings = msk.CfnConfiguration(self, "Settings", name=msk_name, server_properties=server_properties(brokers))
        cluster = msk.CfnCluster(
            self,
            "Cluster",
            cluster_name=msk_name,
            kafka_version=KAFKA_VERSION,
            number_of_broker_nodes=brokers,
            broker_node_group_info=msk.CfnCluster.BrokerNodeGroupInfoProperty(
                client_subnets=vpc.select_subnets(subnet_type=FOR_DATA.subnet_type).subnet_ids,
                instance_type=wanted.instance,
                security_groups=[group.security_group_id],
                storage_info=msk.CfnCluster.StorageInfoProperty(
                    ebs_storage_info=msk.CfnCluster.EBSStorageInfoProperty(volume_size=wanted.storage_gb)
                ),
            ),
            client_authentication=msk.CfnCluster.ClientAuthenticationProperty(
                sasl=msk.CfnCluster.SaslProperty(iam=msk.CfnCluster.IamProperty(enabled=True)),
                unauthenticated=msk.CfnCluster.UnauthenticatedProperty(enabled=False),
            ),
            configuration_info=msk.CfnCluster.ConfigurationInfoProperty(
                arn=settings.attr_arn, revision=Token.as_number(settings.get_att("LatestRevision.Revision"))
            ),
            encryption_info=msk.CfnCluster.EncryptionInfoProperty(
                encryption_at_rest=msk.CfnCluster.EncryptionAtRestProperty(data_volume_kms_key_id=key.key_arn),
                encryption_in_transit=msk.CfnCluster.EncryptionInTransitProperty(client_broker="TLS", in_cluster=True),
            ),
            enhanced_monitoring="PER_BROKER",
            logging_info=msk.CfnCluster.LoggingInfoProperty(
                broker_logs=msk.CfnCluster.BrokerLogsProperty(
                    cloud_watch_logs=msk.CfnCluster.CloudWatchLogsProperty(enabled=True, log_group=log.log_group_name)
                )
            ),
        )
        cluster.apply_removal_policy(RemovalPolicy.RETAIN)
        stack = Stack.of(self)
        unique = Fn.select(2, Fn.split("/", cluster.attr_arn))
        self.arn = f"arn:{stack.partition}:kafka:{stack.region}:{stack.account}:cluster/{msk_name}/{unique}"
        self.bootstrap = self._ask_for_brokers(cluster.attr_arn)

    def _ask_for_brokers(self, arn: str) -> str:
        asking = cr.AwsCustomResource(
            self,
            "Brokers",
            on_update=cr.AwsSdkCall(
                service="Kafka",
                action="getBootstrapBrokers",
                parameters={"ClusterArn": arn},
                physical_resource_id=cr.PhysicalResourceId.of(f"brokers of {self.msk_name}"),
            ),
            policy=cr.AwsCustomResourcePolicy.from_sdk_calls(resources=[arn]),
            install_latest_aws_sdk=False,
        )
        return asking.get_response_field("BootstrapBrokerStringSaslIam")


def server_properties(brokers: int) -> str:
    """Give the brokers' settings: safe for acknowledged events, and topics are made by the settings only."""
    copies = min(3, brokers)
    return "\n".join(
        (
            "auto.create.topics.enable=false",
            "unclean.leader.election.enable=false",
            f"default.replication.factor={copies}",
            f"min.insync.replicas={copies - 1}",
            f"offsets.topic.replication.factor={copies}",
            f"transaction.state.log.replication.factor={copies}",
            f"transaction.state.log.min.isr={copies - 1}",
        )
    )
