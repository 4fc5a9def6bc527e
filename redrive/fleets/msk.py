"""`MskFleet`: the brokers of an Amazon MSK cluster (provisioned), by AWS's own interfaces.

It was never run against AWS: it is tested against the models of the services that botocore brings along.

CPU is ``CpuUser + CpuSystem``, which CloudWatch has of each broker for each minute, at any monitoring level
(https://docs.aws.amazon.com/msk/latest/developerguide/metrics-details.html). Brokers are added in multiples of the
availability zones (https://docs.aws.amazon.com/msk/latest/developerguide/msk-update-broker-count.html).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from redrive.errors import FleetError, UnavailableError
from redrive.fleets.fleet import Sample, Shape

PERIOD = 60
"""Seconds that a datapoint stands for."""
LATENESS = 120
"""Seconds after which all brokers' datapoints are taken to have arrived; younger ones are not asked for."""

_TIMEOUT = 10.0  # seconds
_ACTIVE = "ACTIVE"
_PASSING = {"ServiceUnavailableException", "InternalServerErrorException", "TooManyRequestsException", "Throttling",
            "ThrottlingException", "InternalServiceError", "InternalServiceFault"}  # fmt: skip
_FORBIDDEN = {"ForbiddenException", "UnauthorizedException", "AccessDenied", "AccessDeniedException"}
_WAYS_OUT = {
    "NotFoundException": "correct the ARN in the settings",
    "BadRequestException": "if another operation has changed the cluster meanwhile, start this again",
}


class MskFleet:
    """The brokers of an MSK cluster.

    Args:
        kafka: boto3's client of MSK.
        cloudwatch: boto3's client of CloudWatch.
        arn: the cluster's.
        clock: seconds since 1970.
    """

    def __init__(self, kafka: Any, cloudwatch: Any, arn: str, *, clock: Callable[[], float] = time.time) -> None:
        self._kafka, self._cloudwatch, self._arn, self._clock = kafka, cloudwatch, arn, clock
        self._named = f"MSK cluster {arn.split('/')[1]}"

    @classmethod
    def connect(cls, arn: str) -> Self:
        """Connect with the credentials that boto3 finds, in the region of the ARN."""
        how = BotoConfig(
            connect_timeout=_TIMEOUT, read_timeout=_TIMEOUT, retries={"mode": "standard", "total_max_attempts": 3}
        )
        region = arn.split(":")[3]
        return cls(
            boto3.client("kafka", region_name=region, config=how),
            boto3.client("cloudwatch", region_name=region, config=how),
            arn,
        )

    def step(self, _: float) -> float:
        """See `redrive.fleets.fleet.Fleet.step`."""
        return PERIOD

    def samples(self, brokers: Collection[int], seconds: float) -> list[Sample]:
        """Look the load up in CloudWatch: of the whole minutes that are past, up to two minutes ago."""
        end = int(self._clock()) // PERIOD * PERIOD - LATENESS
        begin = end + int(-seconds // PERIOD) * PERIOD
        name = self._describe()["ClusterName"]
        found: defaultdict[float, dict[int, float]] = defaultdict(dict)
        with self._asking("cloudwatch:GetMetricData"):
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[query for broker in sorted(brokers) for query in _queries(name, broker)],
                StartTime=datetime.fromtimestamp(begin, UTC),
                EndTime=datetime.fromtimestamp(end, UTC),
                ScanBy="TimestampAscending",
            )
            for page in pages:
                for series in page["MetricDataResults"]:
                    for at, percent in zip(series["Timestamps"], series["Values"], strict=True):
                        found[at.timestamp()][int(series["Id"].removeprefix("cpu"))] = percent
        return [Sample(at, load) for at, load in sorted(found.items())]

    def shape(self) -> Shape:
        """Say how large the cluster is, by MSK; it is changing unless its state is ACTIVE."""
        about = self._describe()
        provisioned = about["Provisioned"]
        return Shape(
            provisioned["NumberOfBrokerNodes"],
            multiple=len(provisioned["BrokerNodeGroupInfo"]["ClientSubnets"]),  # each is in a zone of its own
            changing="" if about["State"] == _ACTIVE else f"the {self._named} is {about['State']}",
        )

    def grow(self, brokers: int) -> None:
        """Ask MSK for so many brokers in all; it takes a quarter of an hour or more until they are there.

        While it changes, by whatever order, it takes none: that may be this very one, of which no answer came.
        """
        about = self._describe()
        if about["Provisioned"]["NumberOfBrokerNodes"] >= brokers:
            return
        if about["State"] != _ACTIVE:
            raise UnavailableError(self._named, f"it is {about['State']}, and can be asked again when that is over")
        try:
            with self._asking("kafka:UpdateBrokerCount"):
                self._kafka.update_broker_count(
                    ClusterArn=self._arn, CurrentVersion=about["CurrentVersion"], TargetNumberOfBrokerNodes=brokers
                )
        except FleetError as refused:
            now = self._describe()
            if (now["State"], now["CurrentVersion"]) == (about["State"], about["CurrentVersion"]):
                raise
            # boto3 asks again by itself when no answer comes, and an order that was taken is refused the second time.
            raise UnavailableError(self._named, f"it is {now['State']} since it was asked: {refused.reason}") from None

    def _describe(self) -> dict[str, Any]:
        with self._asking("kafka:DescribeClusterV2"):
            about: dict[str, Any] = self._kafka.describe_cluster_v2(ClusterArn=self._arn)["ClusterInfo"]
        if "Provisioned" not in about:
            raise FleetError(self._named, "is serverless: it has no brokers to add; take its fleet out of the settings")
        return about

    @contextmanager
    def _asking(self, action: str) -> Iterator[None]:
        """Turn what boto3 raises into errors of ours; ``action`` is what IAM calls the request."""
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _PASSING:
                raise UnavailableError(self._named, str(error)) from error
            way_out = f"allow {action}" if code in _FORBIDDEN else _WAYS_OUT.get(code, "")
            raise FleetError(self._named, f"refuses: {error}" + (f"; {way_out}" if way_out else "")) from error
        except NoCredentialsError as error:
            raise FleetError(self._named, f"{error}; give the worker a role that allows {action}") from error
        except BotoCoreError as error:
            raise UnavailableError(self._named, str(error)) from error


def _queries(cluster: str, broker: int) -> list[dict[str, Any]]:
    dimensions = [{"Name": "Cluster Name", "Value": cluster}, {"Name": "Broker ID", "Value": str(broker)}]
    parts = {f"{name.lower()}{broker}": name for name in ("CpuUser", "CpuSystem")}
    metrics = [
        {
            "Id": id_,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/Kafka", "MetricName": name, "Dimensions": dimensions},
                "Period": PERIOD,
                "Stat": "Average",
            },
            "ReturnData": False,
        }
        for id_, name in parts.items()
    ]
    return [*metrics, {"Id": f"cpu{broker}", "Expression": " + ".join(parts)}]
