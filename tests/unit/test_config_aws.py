"""The section about AWS: each mistake is named before anything is laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from redrive.config import Config

pytestmark = pytest.mark.usefixtures("alone")
EXAMPLE = Path(__file__).parents[2] / "deployments/aws/example.toml"


def mistakes(*changes: tuple[str, str]) -> list[str]:
    text = EXAMPLE.read_text().replace("../../schemas", str(EXAMPLE.parents[2] / "schemas"))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    file = Path("redrive.toml")
    file.write_text(text)
    return [str(mistake) for mistake in Config.check(file)]


def test_the_example_is_good() -> None:
    assert Config.check(EXAMPLE) == []


def test_a_cluster_that_nothing_is_said_about_has_a_broker_in_each_zone() -> None:
    aws = Config.load(EXAMPLE).aws
    assert aws is not None
    assert (aws.msk("menu-eu").brokers, aws.msk("menu-eu").storage_gb) == (3, 100)
    assert (aws.msk("orders").brokers, aws.msk("orders").storage_gb) == (6, 500)


def test_zones_are_in_the_region_of_the_standby_table() -> None:
    (mistake,) = mistakes(('"eu-west-1c"]', '"eu-west-2c"]'))
    assert mistake.endswith("aws.zones: eu-west-2c: not in eu-west-1, the region of the standby table")


def test_a_zone_counts_once() -> None:
    (mistake,) = mistakes(('"eu-west-1c"]', '"eu-west-1b"]'))
    assert mistake.endswith("aws.zones: has a zone twice")


def test_brokers_come_in_multiples_of_the_zones() -> None:
    (mistake,) = mistakes(("brokers = 6", "brokers = 4"))
    assert mistake.startswith("redrive.toml:")
    assert mistake.endswith("aws.clusters.orders.brokers: must be a multiple of the 3 zones")


def test_a_cluster_that_is_not_there_can_t_be_laid_out() -> None:
    (mistake,) = mistakes(("[aws.clusters.orders]", "[aws.clusters.sales]"))
    assert mistake.endswith("aws.clusters.sales: there is no cluster 'sales'; there are menu-eu, orders")


def test_an_unknown_setting_names_those_there_are() -> None:
    (mistake,) = mistakes(("storage_gb = 500", "disk = 500"))
    assert mistake.endswith("is not a setting of Redrive; it knows brokers, instance, storage_gb")
    (mistake,) = mistakes(("notify =", "email ="))
    assert "account, certificate, clusters, gateways, name, notify, zones" in mistake


def test_every_cluster_comes_to_msk_by_iam() -> None:
    (mistake,) = mistakes(('security_protocol = "SASL_SSL"\nsasl_mechanism = "AWS_MSK_IAM"', ""))
    assert (
        'clusters.orders: with [aws] each cluster is one of Amazon MSK; write sasl_mechanism = "AWS_MSK_IAM"' in mistake
    )


def test_commands_don_t_add_brokers_to_msk() -> None:
    fleet = '[clusters.orders.fleet]\nkind = "command"\nload = ["l"]\nadd = ["a", "{brokers}"]\n\n[clusters.menu-eu]'
    (mistake,) = mistakes(("[clusters.menu-eu]", fleet))
    assert "clusters.orders.fleet: with [aws] it is Amazon MSK that adds brokers" in mistake


def test_a_gateway_stops_before_it_is_killed() -> None:
    (mistake,) = mistakes(("[gateway.types]", "[gateway]\nanswer_within = 76\n[gateway.types]"))
    assert mistake.endswith(
        "gateway: drain + body_timeout + answer_within may be 90 s with [aws]: a stop takes 30 s more, and Fargate "
        "kills what has not stopped after 120"
    )
    assert mistakes(("[gateway.types]", "[gateway]\nanswer_within = 75\n[gateway.types]")) == []


def test_a_gateway_needs_a_certificate() -> None:
    (mistake,) = mistakes(("certificate = ", "# certificate = "))
    assert mistake.endswith("aws: certificate is missing: the gateway is reached by TLS only")


def test_dynamodb_local_is_not_in_aws() -> None:
    (mistake,) = mistakes(('region = "eu-west-1"', 'region = "eu-west-1"\nendpoint = "http://127.0.0.1:28000"'))
    assert "standby.endpoint: means nothing with [aws]" in mistake


def test_a_password_in_a_file_is_not_the_one_that_aws_makes() -> None:
    ledger = '[ledger]\nurl = "postgresql://me@there/ledger"\npassword = { file = "secret" }\n\n[registry]'
    (mistake,) = mistakes(("[registry]", ledger))
    assert "ledger.password: with [aws] the ledger's password comes from Secrets Manager" in mistake
