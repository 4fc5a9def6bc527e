"""What keeps data: brokers, the standby table, databases."""

from __future__ import annotations

from typing import Any

import pytest

from redrive.config import Config
from redrive.standby.dynamo import DynamoStore
from tests.aws.template import Platform


def key_of(platform: Platform) -> str:
    (key,) = platform.resources("AWS::KMS::Key")
    return f"{key}.Arn"


def test_every_cluster_of_the_settings_has_its_brokers_on_msk(platform: Platform) -> None:
    made = {one["ClusterName"]: one for one in platform.properties("AWS::MSK::Cluster")}
    assert made.keys() == {f"redrive-{name}" for name in Config.load().clusters}
    orders, menu = made["redrive-orders"], made["redrive-menu-eu"]
    assert (orders["NumberOfBrokerNodes"], menu["NumberOfBrokerNodes"]) == (6, 3)  # as given; one a zone
    assert orders["BrokerNodeGroupInfo"]["StorageInfo"]["EBSStorageInfo"]["VolumeSize"] == 500
    assert len(set(menu["BrokerNodeGroupInfo"]["ClientSubnets"])) == 3


def test_brokers_take_iam_over_tls_only_and_encrypt_and_tell(platform: Platform) -> None:
    for cluster in platform.properties("AWS::MSK::Cluster"):
        assert cluster["ClientAuthentication"] == {
            "Sasl": {"Iam": {"Enabled": True}},
            "Unauthenticated": {"Enabled": False},
        }
        assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
        assert cluster["EncryptionInfo"]["EncryptionAtRest"]["DataVolumeKMSKeyId"] == key_of(platform)
        assert cluster["EnhancedMonitoring"] == "PER_BROKER"
        assert cluster["LoggingInfo"]["BrokerLogs"]["CloudWatchLogs"]["Enabled"] is True


def test_brokers_lose_no_acknowledged_event_with_one_of_them_and_make_no_topic_unasked(platform: Platform) -> None:
    for settings in platform.properties("AWS::MSK::Configuration"):
        lines = settings["ServerProperties"].splitlines()
        assert {
            "min.insync.replicas=2",
            "default.replication.factor=3",
            "unclean.leader.election.enable=false",
            "auto.create.topics.enable=false",
        } <= set(lines)


def test_the_standby_table_is_the_one_that_redrive_makes_elsewhere(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    asked: dict[str, dict[str, Any]] = {}
    store = DynamoStore("redrive-standby", "eu-west-1")

    def answer(model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        return type("Response", (), {"status_code": 200})(), {
            "Table": {"TableStatus": "ACTIVE"}, "TimeToLiveDescription": {}, "ContinuousBackupsDescription": {},
        }  # fmt: skip

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        asked[model.name] = dict(params)

    store._client.meta.events.register("provide-client-params.dynamodb.*", note)
    store._client.meta.events.register("before-call.dynamodb.*", answer)
    store.create()

    (table,) = platform.properties("AWS::DynamoDB::Table")
    for what in ("TableName", "KeySchema", "AttributeDefinitions", "BillingMode"):
        assert table[what] == asked["CreateTable"][what], what
    for what, by in (
        ("TimeToLiveSpecification", "UpdateTimeToLive"),
        ("PointInTimeRecoverySpecification", "UpdateContinuousBackups"),
    ):
        assert table[what] == asked[by][what], what


def test_the_standby_table_can_be_restored_and_is_encrypted_by_the_platform_s_key(platform: Platform) -> None:
    (table,) = platform.properties("AWS::DynamoDB::Table")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {
        "KMSMasterKeyId": key_of(platform),
        "SSEEnabled": True,
        "SSEType": "KMS",
    }
    assert table["DeletionProtectionEnabled"] is True


def test_ledger_registry_and_prefect_have_a_database_each_that_survives_a_zone_and_a_mistake(
    platform: Platform,
) -> None:
    databases = platform.properties("AWS::RDS::DBInstance")
    assert {one["DBName"] for one in databases} == {"ledger", "registry", "prefect"}
    for one in databases:
        assert one["MultiAZ"] is True
        assert one["StorageEncrypted"] is True
        assert one["KmsKeyId"] == key_of(platform)
        assert one["BackupRetentionPeriod"] == 14
        assert one["DeletionProtection"] is True
        assert one["PubliclyAccessible"] is False
        assert one["MasterUserPassword"].startswith("{{resolve:secretsmanager:")
    assert [one["Parameters"] for one in platform.properties("AWS::RDS::DBParameterGroup")] == [
        {"rds.force_ssl": "1"}
    ] * 3


@pytest.mark.parametrize("kind", ["AWS::MSK::Cluster", "AWS::DynamoDB::Table", "AWS::RDS::DBInstance", "AWS::KMS::Key"])
def test_data_stays_when_a_stack_is_deleted(platform: Platform, kind: str) -> None:
    kept = platform.resources(kind)
    assert kept
    assert {one["DeletionPolicy"] for one in kept.values()} == {"Retain"}


def test_the_stack_with_data_can_t_be_deleted_by_mistake(platform: Platform) -> None:
    assert platform.artifacts["redrive-data"].termination_protection is True
