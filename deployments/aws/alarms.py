"""Alarms of CloudWatch, and the topic of SNS that people hear of them by."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from redrive.config import AwsConfig

_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD


class Alarms(Construct):
    """A topic that tells people, by e-mail if the settings have an address."""

    def __init__(self, scope: Construct, id: str, aws: AwsConfig, key: kms.Key) -> None:
        super().__init__(scope, id)
        self._name = aws.name
        self.topic = sns.Topic(self, "Topic", master_key=key, enforce_ssl=True)
        # With a policy of its own the topic loses the one that let the account's alarms in.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if aws.notify:
            self.topic.add_subscription(subscriptions.EmailSubscription(aws.notify))

    def name(self, about: str) -> str:
        """Give the name of an alarm."""
        return f"{self._name}-{about}"

    def above(
        self, about: str, metric: cloudwatch.IMetric, most: float,
        *, minutes: int, means: str, scope: Construct | None = None,
    ) -> None:  # fmt: skip
        """Tell when a metric is above a threshold in each minute of so many; ``scope`` is the stack, if another one."""
        self._tell(self._alarm(about, metric, most, _ABOVE, minutes=minutes, means=means, scope=scope))

    def below(self, about: str, metric: cloudwatch.IMetric, least: float, *, minutes: int, means: str) -> None:
        """Tell when a metric is below a threshold in each minute of so many."""
        self._tell(self._alarm(about, metric, least, _BELOW, minutes=minutes, means=means))

    def away(
        self, about: str, healthy: cloudwatch.IMetric,
        *, minutes: int, means: str, scope: Construct | None = None,
    ) -> None:  # fmt: skip
        """Tell when for so many minutes nobody was healthy; when there is nobody at all, there is no datapoint."""
        missing = cloudwatch.TreatMissingData.BREACHING
        self._tell(self._alarm(about, healthy, 1, _BELOW, minutes=minutes, means=means, scope=scope, missing=missing))

    def _alarm(
        self, about: str, metric: cloudwatch.IMetric, threshold: float, how: cloudwatch.ComparisonOperator,
        *, minutes: int, means: str, scope: Construct | None = None,
        # No datapoint: nothing was throttled, nobody asked. What is down is seen by others.
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.Alarm:  # fmt: skip
        return cloudwatch.Alarm(
            scope or self,
            f"Alarm-{about}",
            alarm_name=self.name(about),
            alarm_description=means,
            metric=metric,
            threshold=threshold,
            comparison_operator=how,
            evaluation_periods=minutes,
            treat_missing_data=missing,
        )

    def _tell(self, alarm: cloudwatch.Alarm) -> None:
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))


def metric(namespace: str, name: str, dimensions: Mapping[str, str], statistic: str) -> cloudwatch.Metric:
    """Give a metric, minute by minute."""
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic=statistic,
        period=Duration.minutes(1),
    )
