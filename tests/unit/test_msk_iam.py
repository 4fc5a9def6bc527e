"""Amazon MSK by IAM: a token is signed with AWS's credentials, for each client in its own way. Never tried on AWS."""

from __future__ import annotations

import base64
import pickle
import time
from pathlib import Path

import pytest

from redrive.config import Config, msk_iam
from redrive.errors import UnavailableError
from redrive.partitions.connection import client_config

BROKERS = (
    "b-1.sales.x1y2z3.c2.kafka.eu-west-1.amazonaws.com:9098,b-2.sales.x1y2z3.c2.kafka.eu-west-1.amazonaws.com:9098"
)
SECRET = "s3cret-s3cret-s3cret"
SETTINGS = f"""\
[registry]
url = "http://registry.example"
[clusters.sales]
bootstrap = "{BROKERS}"
security_protocol = "SASL_SSL"
sasl_mechanism = "AWS_MSK_IAM"
[domains.orders]
cluster = "sales"
[topics.orders]
domain = "orders"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    file = tmp_path / "redrive.toml"
    file.write_text(SETTINGS)
    return file


def signed(token: str) -> str:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def test_a_client_signs_a_token_for_the_region_of_its_brokers(file: Path) -> None:
    config = Config.load(file).cluster("sales").client_config()
    assert (config["sasl.mechanism"], config["security.protocol"]) == ("OAUTHBEARER", "SASL_SSL")
    assert "sasl.password" not in config
    token, expires = config["oauth_cb"]("")
    assert "kafka.eu-west-1.amazonaws.com" in signed(token)
    assert "kafka-cluster%3AConnect" in signed(token)
    assert time.time() + 60 < expires < time.time() + 3600
    assert SECRET not in signed(token)


def test_kafka_python_asks_the_same_way(file: Path) -> None:
    config = client_config(Config.load(file).cluster("sales"))
    assert config["sasl_mechanism"] == "OAUTHBEARER"
    assert "kafka.eu-west-1.amazonaws.com" in signed(config["sasl_oauth_token_provider"].token())


def test_a_client_s_settings_can_go_to_another_process(file: Path) -> None:
    config = Config.load(file).cluster("sales").client_config()
    assert pickle.loads(pickle.dumps(config))["oauth_cb"]("")[0]


def test_without_credentials_it_says_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(UnavailableError, match="no token for MSK could be signed"):
        msk_iam.token("eu-west-1")


@pytest.mark.parametrize(
    ("bootstrap", "region"),
    [
        (BROKERS, "eu-west-1"),
        ("boot-x1y2.c1.kafka-serverless.us-east-2.amazonaws.com:9098", "us-east-2"),
        ("b-1.a.b.c2.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
        ("127.0.0.1:9098", ""),
        (BROKERS.replace("eu-west-1", "eu-west-2", 1), ""),
    ],
)
def test_the_region_is_that_of_the_brokers_names(bootstrap: str, region: str) -> None:
    assert msk_iam.region_of(bootstrap) == region


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (BROKERS, "kafka.example:9098", "needs bootstrap to name brokers as Amazon MSK does"),
        ('"SASL_SSL"', '"SSL"', "needs security_protocol SASL_SSL"),
        (
            "[domains.orders]",
            'username = "x"\npassword = {env = "P"}\n[domains.orders]',
            "leave username and password out",
        ),
    ],
)
def test_settings_that_can_t_be_are_named(file: Path, old: str, new: str, reason: str) -> None:
    file.write_text(SETTINGS.replace(old, new))
    (mistake,) = Config.check(file)
    assert reason in str(mistake)
