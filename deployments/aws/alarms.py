"""Alarms of CloudWatch, and the topic of SNS that people hear of them by."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
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
        if aws.notify:
            self.topic.add_subscription(subscriptions.EmailSubscription(aws.notify))

    def name(self, about: str) -> str:
        """Give the name of an alarm."""
        return f"{self._name}-{about}"

    def above(
        self, about: str, metric: cloudwatch.IMetric, most: float, *, minutes: int, means: str, scope: Construct | None = None
    ) -> None:
        """Tell when a metric is above a threshold in each minute of so many."""
        self._add(about, metric, most, _ABOVE, minutes, means, scope)

    def below(
        self, about: str, metric: cloudwatch.IMetric, least: float, *, minutes: int, means: str, scope: Construct | None = None
    ) -> None:
        """Tell when a metric is below a threshold in each minute of so many."""
        self._add(about, metric, least, _BELOW, minutes, means, scope)

    def _add(
        self, about: str, metric: cloudwatch.IMetric, threshold: float, how: cloudwatch.ComparisonOperator,
        minutes: int, means: str, scope: Construct | None,
    ) -> None:  # fmt: skip
        alarm = cloudwatch.Alarm(
            scope or self,
            f"Alarm-{about}",
            alarm_name=self.name(about),
            alarm_description=means,
            metric=metric,
            threshold=threshold,
            comparison_operator=how,
            evaluation_periods=minutes,
            # No datapoint: nothing was throttled, nobody asked. What is down is seen by others.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
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
