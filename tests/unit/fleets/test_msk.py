"""A fleet of Amazon MSK, against the models of the services that botocore brings along; never against AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from redrive.errors import FleetError, UnavailableError
from redrive.fleets import MskFleet, Sample, Shape

ARN = "arn:aws:kafka:eu-west-1:123456789012:cluster/sales/0b1c2d3e-aaaa-bbbb-cccc-1234567890ab-4"
NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC).timestamp()
ASKED = {"ClusterArn": ARN}


class Aws:
    """Both services, which answer what a test has them answer, and in that order."""

    def __init__(self) -> None:
        how: dict[str, Any] = {"region_name": "eu-west-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
        kafka, cloudwatch = boto3.client("kafka", **how), boto3.client("cloudwatch", **how)
        self.kafka, self.cloudwatch = Stubber(kafka), Stubber(cloudwatch)
        self.fleet = MskFleet(kafka, cloudwatch, ARN, clock=lambda: NOW)

    def describes(self, brokers: int = 3, state: str = "ACTIVE", zones: int = 3) -> None:
        about = {
            "ClusterArn": ARN,
            "ClusterName": "sales",
            "ClusterType": "PROVISIONED",
            "CurrentVersion": "K3AEGXETSR30VB",
            "State": state,
            "Provisioned": {
                "BrokerNodeGroupInfo": {
                    "BrokerAZDistribution": "DEFAULT",
                    "ClientSubnets": [f"subnet-{zone}" for zone in range(zones)],
                    "InstanceType": "kafka.m7g.large",
                },
                "NumberOfBrokerNodes": brokers,
                "EnhancedMonitoring": "DEFAULT",
            },
        }
        self.kafka.add_response("describe_cluster_v2", {"ClusterInfo": about}, ASKED)


@pytest.fixture
def aws() -> Iterator[Aws]:
    aws = Aws()
    with aws.kafka, aws.cloudwatch:
        yield aws
        aws.kafka.assert_no_pending_responses()
        aws.cloudwatch.assert_no_pending_responses()


def metric(name: str, broker: int) -> dict[str, Any]:
    dimensions = [{"Name": "Cluster Name", "Value": "sales"}, {"Name": "Broker ID", "Value": str(broker)}]
    return {
        "Id": f"{name.lower()}{broker}",
        "MetricStat": {
            "Metric": {"Namespace": "AWS/Kafka", "MetricName": name, "Dimensions": dimensions},
            "Period": 60,
            "Stat": "Average",
        },
        "ReturnData": False,
    }


def series(broker: int, *points: tuple[int, float]) -> dict[str, Any]:
    return {
        "Id": f"cpu{broker}",
        "Label": f"cpu{broker}",
        "Timestamps": [datetime(2026, 3, 1, 11, minute, tzinfo=UTC) for minute, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": "Complete",
    }


def test_the_load_is_user_and_system_time_of_each_broker_for_each_whole_minute(aws: Aws) -> None:
    aws.describes()
    wanted = {
        "MetricDataQueries": [
            query
            for broker in (1, 2)
            for query in (
                metric("CpuUser", broker),
                metric("CpuSystem", broker),
                {"Id": f"cpu{broker}", "Expression": f"cpuuser{broker} + cpusystem{broker}"},
            )
        ],
        # Up to two minutes ago: younger datapoints may be missing for some brokers.
        "StartTime": datetime(2026, 3, 1, 11, 55, tzinfo=UTC),
        "EndTime": datetime(2026, 3, 1, 11, 58, tzinfo=UTC),
        "ScanBy": "TimestampAscending",
    }
    first = {"MetricDataResults": [series(1, (55, 61.5), (56, 62.0))], "NextToken": "more"}
    then = {"MetricDataResults": [series(1, (57, 63.0)), series(2, (55, 40.0), (57, 41.0))]}
    aws.cloudwatch.add_response("get_metric_data", first, wanted)
    aws.cloudwatch.add_response("get_metric_data", then, wanted | {"NextToken": "more"})
    at = datetime(2026, 3, 1, 11, 55, tzinfo=UTC).timestamp()
    assert aws.fleet.samples([2, 1], 170) == [
        Sample(at, {1: 61.5, 2: 40.0}),
        Sample(at + 60, {1: 62.0}),
        Sample(at + 120, {1: 63.0, 2: 41.0}),
    ]
    assert aws.fleet.step(170) == 60


def test_it_has_as_many_brokers_at_a_time_as_zones_and_changes_as_long_as_it_is_not_active(aws: Aws) -> None:
    aws.describes(brokers=6, zones=2)
    assert aws.fleet.shape() == Shape(6, 2, "")
    aws.describes(state="UPDATING")
    assert aws.fleet.shape() == Shape(3, 3, "the MSK cluster sales is UPDATING")


def test_it_asks_for_brokers_by_the_number_there_are_to_be_and_the_version_it_has_seen(aws: Aws) -> None:
    aws.describes()
    order = ASKED | {"CurrentVersion": "K3AEGXETSR30VB", "TargetNumberOfBrokerNodes": 6}
    aws.kafka.add_response("update_broker_count", {"ClusterArn": ARN, "ClusterOperationArn": f"{ARN}/op"}, order)
    aws.fleet.grow(6)


def test_what_it_has_already_it_does_not_ask_for(aws: Aws) -> None:
    aws.describes(brokers=6)
    aws.fleet.grow(6)


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("ForbiddenException", 403, "no; allow kafka:UpdateBrokerCount"),
        ("BadRequestException", 400, "no; if another operation has changed the cluster meanwhile, start this again"),
    ],
)
def test_a_refusal_names_the_cluster_and_the_way_out(aws: Aws, code: str, status: int, told: str) -> None:
    aws.describes()
    aws.kafka.add_client_error("update_broker_count", code, "no", http_status_code=status)
    aws.describes()
    with pytest.raises(FleetError, match=f"MSK cluster sales: refuses: .*{told}"):
        aws.fleet.grow(6)


def test_a_refusal_of_an_order_that_was_taken_before_is_none(aws: Aws) -> None:
    """No answer comes in time, boto3 asks again, and MSK does not take the same order twice."""
    aws.describes()
    aws.kafka.add_client_error("update_broker_count", "BadRequestException", "not ACTIVE", http_status_code=400)
    aws.describes(state="UPDATING")
    with pytest.raises(UnavailableError, match=r"it is UPDATING since it was asked: refuses: .*not ACTIVE"):
        aws.fleet.grow(6)


def test_while_it_changes_it_is_not_asked_and_that_may_be_this_very_order(aws: Aws) -> None:
    aws.describes(state="UPDATING")
    with pytest.raises(UnavailableError, match="it is UPDATING, and can be asked again when that is over"):
        aws.fleet.grow(6)


def test_a_cluster_that_is_not_there_is_told_so(aws: Aws) -> None:
    aws.kafka.add_client_error("describe_cluster_v2", "NotFoundException", "none", http_status_code=404)
    with pytest.raises(FleetError, match="correct the ARN in the settings"):
        aws.fleet.shape()


@pytest.mark.parametrize(
    "code", ["ServiceUnavailableException", "InternalServerErrorException", "TooManyRequestsException"]
)
def test_what_may_pass_is_told_as_that(aws: Aws, code: str) -> None:
    aws.kafka.add_client_error("describe_cluster_v2", code, "later", http_status_code=503)
    with pytest.raises(UnavailableError, match="MSK cluster sales is unavailable"):
        aws.fleet.shape()


def test_a_cluster_without_brokers_of_its_own_is_refused(aws: Aws) -> None:
    about = {"ClusterArn": ARN, "ClusterName": "sales", "ClusterType": "SERVERLESS", "State": "ACTIVE"}
    aws.kafka.add_response("describe_cluster_v2", {"ClusterInfo": about}, ASKED)
    with pytest.raises(FleetError, match="is serverless"):
        aws.fleet.shape()


def test_aws_that_can_t_be_reached_is_unavailable() -> None:
    class Away:
        def describe_cluster_v2(self, **_: str) -> None:
            raise EndpointConnectionError(endpoint_url="https://kafka.eu-west-1.amazonaws.com")

    with pytest.raises(UnavailableError, match="MSK cluster sales"):
        MskFleet(Away(), None, ARN).shape()


def test_the_region_is_that_of_the_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    fleet = MskFleet.connect(ARN)
    assert fleet._kafka.meta.region_name == fleet._cloudwatch.meta.region_name == "eu-west-1"
