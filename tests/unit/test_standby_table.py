"""What keeps events safe in the standby table: TTL and point-in-time recovery, told and switched on.

Against the models of AWS's services that boto3 brings along: DynamoDB Local has no point-in-time recovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from redrive.errors import ConfigError
from redrive.standby import dynamo
from redrive.standby.dynamo import DynamoStore
from redrive.topics import _plan_table

OF = {"TableName": "standby"}
TTL = {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
ON: dict[str, Any] = {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "expires"}}
RECOVERY_ON: dict[str, Any] = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}


class Table:
    """A table on AWS, of which is said in advance what it is asked, and answers."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        self.store = DynamoStore("standby", "eu-west-1")
        self.aws = Stubber(self.store._client)

    def told(self, ttl: dict[str, str], recovery: str) -> None:
        backups = {"ContinuousBackupsStatus": "ENABLED"}
        status = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": recovery}}
        self.aws.add_response("describe_time_to_live", {"TimeToLiveDescription": ttl}, OF)
        self.aws.add_response("describe_continuous_backups", {"ContinuousBackupsDescription": backups | status}, OF)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    table = Table(monkeypatch)
    with table.aws:
        yield table
        table.aws.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("ttl", "recovery", "lacks"),
    [
        (TTL, "ENABLED", []),
        ({"TimeToLiveStatus": "ENABLING", "AttributeName": "expires"}, "ENABLED", []),
        ({"TimeToLiveStatus": "DISABLED"}, "ENABLED", ["TTL"]),
        (TTL | {"AttributeName": "other"}, "ENABLED", ["TTL"]),
        (TTL, "DISABLED", ["point-in-time recovery"]),
    ],
)
def test_a_table_lacks_what_is_not_on(table: Table, ttl: dict[str, str], recovery: str, lacks: list[str]) -> None:
    table.told(ttl, recovery)
    assert table.store.lacks() == lacks


def test_a_restored_table_gets_both_and_nothing_twice(table: Table) -> None:
    table.told({"TimeToLiveStatus": "DISABLED"}, "DISABLED")
    table.aws.add_response("update_time_to_live", ON, OF | ON)
    table.aws.add_response("update_continuous_backups", {}, OF | RECOVERY_ON)
    table.store.protect()
    table.told(TTL, "ENABLED")
    table.store.protect()


def test_what_somebody_else_has_switched_on_meanwhile_is_no_error(table: Table) -> None:
    table.told({"TimeToLiveStatus": "DISABLED"}, "ENABLED")
    table.aws.add_client_error("update_time_to_live", "ValidationException", "TimeToLive is already enabled")
    table.told(TTL, "ENABLED")
    table.store.protect()


def test_what_somebody_else_has_switched_on_meanwhile_does_not_leave_the_rest_off(table: Table) -> None:
    table.told({"TimeToLiveStatus": "DISABLED"}, "DISABLED")
    table.aws.add_client_error("update_time_to_live", "ValidationException", "TimeToLive is already enabled")
    table.told(TTL, "DISABLED")
    table.aws.add_response("update_continuous_backups", {}, OF | RECOVERY_ON)
    table.store.protect()


def test_a_table_that_was_made_just_now_is_asked_again_until_it_is_old_enough(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamo, "AGAIN", 0.0)
    table.aws.add_response("create_table", {})
    table.aws.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE"}}, OF)
    table.told({"TimeToLiveStatus": "DISABLED"}, "DISABLED")
    table.aws.add_response("update_time_to_live", ON, OF | ON)
    for _ in range(3):
        table.aws.add_client_error("update_continuous_backups", "ContinuousBackupsUnavailableException")
        table.told(TTL, "DISABLED")
    table.aws.add_response("update_continuous_backups", {}, OF | RECOVERY_ON)
    table.store.create()


def test_a_table_that_somebody_else_is_making_is_waited_for_and_protected_too(table: Table) -> None:
    table.aws.add_client_error("create_table", "ResourceInUseException", "Table is being created")
    table.aws.add_response("describe_table", {"Table": {"TableStatus": "ACTIVE"}}, OF)
    table.told(TTL, "DISABLED")
    table.aws.add_response("update_continuous_backups", {}, OF | RECOVERY_ON)
    table.store.create()


def test_a_table_that_stays_too_new_is_told_with_what_to_do(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamo, "NEW_FOR", 0.0)
    table.told(TTL, "DISABLED")
    table.aws.add_client_error("update_continuous_backups", "ContinuousBackupsUnavailableException")
    table.told(TTL, "DISABLED")
    with pytest.raises(ConfigError, match="apply again in some minutes"):
        table.store.protect()


def test_who_may_not_ask_for_it_is_told_so_and_makes_topics_all_the_same(table: Table) -> None:
    table.aws.add_response("get_item", {})
    table.aws.add_client_error("describe_time_to_live", "AccessDeniedException", "not authorized")
    (change,) = _plan_table(table.store)
    assert (change.kind, change.action, change.outcome) == ("table", "ask", "failed")
    assert "not authorized" in change.reason
