"""What is watched of brokers, the standby table and databases.

Metrics of MSK: https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html
"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb

from deployments.aws.alarms import Alarms, metric
from deployments.aws.database import STORAGE_GB, Database

CPU_MOST = 60
"""Percent. More than that, and a cluster has no room for a broker's death: what `broker-scaling` takes as high, too."""


def cpu_alarm(cluster: str) -> str:
    """Say what the alarm about a cluster's CPU is about."""
    return f"kafka-{cluster}-cpu"


def watch_kafka(alarms: Alarms, name: str, msk_name: str) -> None:
    """Watch a cluster: CPU, disk, partitions."""
    # Of all brokers by a query, so that those which are added later are watched, too.
    alarms.below(
        cpu_alarm(name), _of_brokers("MIN", "CpuIdle", msk_name), 100 - CPU_MOST, minutes=10,
        means=f"A broker of {name} has had less than {100 - CPU_MOST} % of its CPU idle for 10 minutes: "
        f"redrive run broker-scaling.",
    )  # fmt: skip
    alarms.above(
        f"kafka-{name}-disk", _of_brokers("MAX", "KafkaDataLogsDiskUsed", msk_name), 80, minutes=5,
        means=f"A disk of {name} is over 80 % full: shorten retention, or raise aws.clusters.{name}.storage_gb.",
    )  # fmt: skip
    alarms.above(
        f"kafka-{name}-under-replicated", _of_brokers("MAX", "UnderReplicatedPartitions", msk_name), 0, minutes=15,
        means=f"Replicas of {name} are out of sync, or partitions are on the move: redrive cluster show.",
    )  # fmt: skip
    offline = metric("AWS/Kafka", "OfflinePartitionsCount", {"Cluster Name": msk_name}, "Maximum")
    alarms.above(
        f"kafka-{name}-offline", offline, 0, minutes=2,
        means=f"Partitions of {name} have no leader; producers store events in the standby table: redrive health.",
    )  # fmt: skip


def watch_table(alarms: Alarms, table: dynamodb.Table) -> None:
    """Watch the standby table: throttled requests."""
    throttled = {
        kind: metric("AWS/DynamoDB", f"{kind}ThrottleEvents", {"TableName": table.table_name}, "Sum")
        for kind in ("Read", "Write")
    }
    total = cloudwatch.MathExpression(
        expression="FILL(read, 0) + FILL(write, 0)",
        using_metrics={kind.lower(): one for kind, one in throttled.items()},
        period=Duration.minutes(1),
        label="throttled",
    )
    alarms.above(
        "standby-throttled", total, 0, minutes=2,
        means="DynamoDB throttles the standby table: producers wait, and the replay slows down by itself.",
    )  # fmt: skip


def watch_database(alarms: Alarms, database: Database) -> None:
    """Watch a database: that it is there, space, CPU."""
    instance = {"DBInstanceIdentifier": database.instance.instance_identifier}
    alarms.below(
        f"{database.name}-database-space",
        metric("AWS/RDS", "FreeStorageSpace", instance, "Minimum"), STORAGE_GB * 2**30 / 10, minutes=5,
        means=f"The disk of the {database.name} database is nearly full, though RDS makes it larger by itself.",
    )  # fmt: skip
    alarms.above(
        f"{database.name}-database-cpu", metric("AWS/RDS", "CPUUtilization", instance, "Average"), 80, minutes=15,
        means=f"The CPU of the {database.name} database is over 80 %.",
    )  # fmt: skip
    # It tells how many are connected while it runs, be it none.
    alarms.away(
        f"{database.name}-database-away",
        metric("AWS/RDS", "DatabaseConnections", instance, "SampleCount"), minutes=5,
        means=f"The {database.name} database is away.",
    )  # fmt: skip


def _of_brokers(statistic: str, name: str, msk_name: str) -> cloudwatch.MathExpression:
    query = f"""SELECT {statistic}({name}) FROM SCHEMA("AWS/Kafka", "Broker ID", "Cluster Name")"""
    return cloudwatch.MathExpression(
        expression=f"""{query} WHERE "Cluster Name" = '{msk_name}'""",
        using_metrics={},
        period=Duration.minutes(1),
        label=name,
    )
