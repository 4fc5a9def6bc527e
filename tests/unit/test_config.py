"""The settings: what is read from where, and that each mistake is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from redrive import EventProducer
from redrive.config import Config
from redrive.config.toml_lines import key_lines
from redrive.dispatch import DispatchSettings
from redrive.errors import ConfigError

pytestmark = pytest.mark.usefixtures("alone")
ROOT = Path(__file__).parents[2]

GOOD = """\
[registry]
url = "http://127.0.0.1:28081/apis/ccompat/v7"

[clusters.blue]
bootstrap = "a.example:9092,b.example:9092"

[domains.orders]
cluster = "blue"

[topics."orders.created"]
domain = "orders"
partitions = 12
"""


def write(text: str) -> Path:
    file = Path("redrive.toml")
    file.write_text(text)
    return file


def mistakes(text: str) -> list[str]:
    write(text)
    return [str(mistake) for mistake in Config.check()]


def test_the_repository_s_own_settings_are_good() -> None:
    assert Config.check(ROOT / "redrive.toml") == []


def test_a_topic_comes_with_defaults_filled_in_and_its_cluster() -> None:
    write(GOOD)
    topic = Config.load().topic("orders.created")
    assert (topic.cluster, topic.partitions, topic.lanes, topic.replication) == ("blue", 12, 12, 3)


def test_kafka_s_settings_are_written_as_kafka_writes_them() -> None:
    write(GOOD + 'config = { "retention.ms" = 86_400_000, "unclean.leader.election.enable" = false }\n')
    config = Config.load().topic("orders.created").config
    assert config == {"retention.ms": "86400000", "unclean.leader.election.enable": "false"}


def test_the_environment_goes_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("REDRIVE_CLUSTERS__BLUE__BOOTSTRAP", "c.example:9092")
    monkeypatch.setenv("REDRIVE_STANDBY__GATE_REFRESH", "0.25")
    monkeypatch.setenv("REDRIVE_STANDBY__ENDPOINT", "")
    config = Config.load()
    assert (
        config.cluster_of("orders.created").client_config()["bootstrap.servers"],
        config.standby.gate_refresh,
        config.standby.endpoint,
    ) == ("c.example:9092", 0.25, None)


def test_a_producer_that_may_take_longer_than_a_switch_waits_does_not_start() -> None:
    write(GOOD + "[standby]\ndivert_after = 2.0\n")
    with pytest.raises(ConfigError, match="is 5 s here, and at most 2 s by the platform's settings"):
        EventProducer("orders", Config.load(), settings=DispatchSettings())


def test_a_producer_that_sees_diverted_lanes_later_than_others_count_on_does_not_start() -> None:
    write(GOOD + "[standby]\ngate_refresh = 10.0\n")
    with pytest.raises(ConfigError, match="gate_refresh: is 1 s here, and 10 s by the platform's"):
        EventProducer("orders", Config.load(), settings=DispatchSettings(block_timeout=1.0))


def test_a_cluster_can_be_added_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("REDRIVE_CLUSTERS__GREEN__BOOTSTRAP", "g.example:9092")
    monkeypatch.setenv("REDRIVE_DOMAINS__ORDERS__CLUSTER", "green")
    assert Config.load().topic("orders.created").cluster == "green"


REGIONS = GOOD.replace('cluster = "blue"', 'regions = { east = "blue", west = "green" }\nactive = "east"').replace(
    "[domains", '[clusters.green]\nbootstrap = "g.example:9092"\n[domains'
)


def test_a_domain_in_two_regions_publishes_to_the_active_one_and_lives_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    write(REGIONS)
    monkeypatch.setenv("REDRIVE_CLUSTERS__SPARE__BOOTSTRAP", "s.example:9092")
    for active, (first, second) in {"east": ("blue", "green"), "west": ("green", "blue")}.items():
        monkeypatch.setenv("REDRIVE_DOMAINS__ORDERS__ACTIVE", active)
        config = Config.load()
        topic = config.topic("orders.created")
        assert (topic.cluster, topic.clusters) == (first, (first, second))
        assert config.cluster_of("orders.created").name == first
        for cluster in (first, second):
            assert [(each.name, each.cluster) for each in config.topics_of(cluster)] == [("orders.created", cluster)]
        assert [config.is_active(name) for name in (first, second, "spare")] == [True, False, True]


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        ('active = "east"\n', "", "domains.orders: needs active to be one of its regions: east, west"),
        ('active = "east"', 'active = "north"', "domains.orders: needs active to be one of its regions: east, west"),
        ('active = "east"', 'active = "east"\ncluster = "blue"', "domains.orders: needs either cluster = "),
        ('west = "green"', 'west = "blue"', "domains.orders: has one cluster in two regions; give each its own"),
        (
            'west = "green"',
            'west = "red"',
            "domains.orders.regions.west: there is no cluster 'red'; there are blue, green",
        ),
        (
            'regions = { east = "blue", west = "green" }',
            'cluster = "blue"',
            "domains.orders: has one cluster; active is",
        ),
    ],
)
def test_what_is_wrong_with_regions_is_named(before: str, after: str, mistake: str) -> None:
    (found,) = mistakes(REGIONS.replace(before, after))
    assert mistake in found
    assert found.startswith("redrive.toml:")


def test_the_file_is_found_by_path_then_variable_then_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(GOOD)
    for name in ("by_variable", "by_path"):
        (tmp_path / name).write_text(GOOD.replace("blue", name))
    assert set(Config.load().clusters) == {"blue"}
    monkeypatch.setenv("REDRIVE_CONFIG", str(tmp_path / "by_variable"))
    assert set(Config.load().clusters) == {"by_variable"}
    assert set(Config.load(tmp_path / "by_path").clusters) == {"by_path"}


def test_no_file_is_a_mistake_that_says_where_it_was_looked_for(tmp_path: Path) -> None:
    assert [str(mistake) for mistake in Config.check()] == [
        f"redrive.toml: there is no file {tmp_path}/redrive.toml; "
        "go to the folder that has it, or name it by $REDRIVE_CONFIG"
    ]


def test_paths_are_relative_to_the_file_not_to_where_one_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home, elsewhere):
        folder.mkdir()
    (home / "order.avsc").write_text("{}")
    (home / "redrive.toml").write_text(GOOD + 'schema = "order.avsc"\n')
    monkeypatch.chdir(elsewhere)
    config = Config.load(home / "redrive.toml")
    assert config.topic("orders.created").schema == home / "order.avsc"
    assert config.ledger_url().database == str(home / ".redrive" / "ledger.db")


def test_an_unknown_topic_names_those_there_are() -> None:
    write(GOOD)
    with pytest.raises(ConfigError, match=r"topics\.order: there is no such topic; there are orders\.created"):
        Config.load().topic("order")


def test_every_mistake_is_found_at_once_each_with_its_line() -> None:
    found = mistakes("""\
[standby]
gate_refresh = -1
[clusters.blue]
bootstrap = "nonsense"
securty_protocol = "SSL"
[domains.orders]
cluster = "bleu"
[topics."orders created"]
domain = "orders"
[topics.payments]
domain = "payment"
lanes = 0
schema = "schemas/payment.avsc"
replication = 2
[topics.payments.config]
"min.insync.replicas" = 3
[topic.x]
""")
    assert found == [
        "redrive.toml: registry: is missing; there is no default for it",
        "redrive.toml:2: standby.gate_refresh: must be greater than 0",
        "redrive.toml:4: clusters.blue.bootstrap: must be one or more host:port with commas between them",
        "redrive.toml:5: clusters.blue.securty_protocol: is not a setting of Redrive; it knows bootstrap, ca_file, "
        "certificate_file, fleet, key_file, key_password, password, sasl_mechanism, security_protocol, username",
        "redrive.toml:7: domains.orders.cluster: there is no cluster 'bleu'; there are blue",
        "redrive.toml:8: topics.orders created: is not a topic name that Kafka takes: "
        "1 to 249 letters, digits, dots, underscores and dashes",
        "redrive.toml:11: topics.payments.domain: there is no domain 'payment'; there are orders",
        "redrive.toml:12: topics.payments.lanes: must be greater than or equal to 1",
        "redrive.toml:13: topics.payments.schema: there is no file schemas/payment.avsc",
        "redrive.toml:16: topics.payments.config.min.insync.replicas: "
        "must not be greater than replication (2), or nothing can be published",
        "redrive.toml:17: topic: is not a setting of Redrive; "
        "it knows aws, backfills, clusters, corrections, domains, gateway, jobs, ledger, notifications, rebalancing, "
        "registry, scaling, standby, topics",
    ]


FLEETS = """\
[clusters.a]
bootstrap = "a:1"
[clusters.a.fleet]
kind = "msk"
arn = "arn:aws:kafka:eu-west-1:1:cluster/sales"
colour = "red"
[clusters.b]
bootstrap = "b:1"
[clusters.b.fleet]
kind = "command"
load = []
add = ["add-one"]
[clusters.c.fleet]
kind = "kubernetes"
[clusters.d.fleet]
kind = "command"
load = ["load"]
"""


def test_what_is_wrong_with_a_fleet_is_named_as_the_file_has_it() -> None:
    found = [mistake for mistake in mistakes(FLEETS) if ".fleet" in mistake]
    assert found == [
        "redrive.toml:5: clusters.a.fleet.arn: must be the ARN of an MSK cluster: "
        "arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/ID",
        "redrive.toml:6: clusters.a.fleet.colour: is not a setting of such a fleet; it knows arn, kind",
        "redrive.toml:11: clusters.b.fleet.load: List must have at least 1 item after validation, not 0",
        "redrive.toml:12: clusters.b.fleet.add: must have {brokers} in it: how many there are to be in all; "
        "so asking twice adds no more",
        "redrive.toml:14: clusters.c.fleet.kind: must be one of command, msk",
        "redrive.toml:15: clusters.d.fleet.add: is missing; there is no default for it",
    ]


def test_adding_brokers_is_approved_by_a_person_unless_the_settings_say_otherwise() -> None:
    write(GOOD)
    assert Config.load().scaling.needs_approval(1)
    write("[scaling]\napproval = 2\n" + GOOD)
    assert [Config.load().scaling.needs_approval(more) for more in (2, 3)] == [False, True]


def test_a_notification_s_block_is_named_by_its_type_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("REDRIVE_NOTIFICATIONS__BLOCK", "slack-webhook/oncall")
    assert Config.load().notifications.block == "slack-webhook/oncall"
    monkeypatch.setenv("REDRIVE_NOTIFICATIONS__BLOCK", "https://hooks.slack.com/services/T0/B0/x")
    (mistake,) = Config.check()
    assert "such as slack-webhook/oncall" in mistake.reason
    assert "T0" not in str(mistake), "it may be the secret itself"


def test_loading_stops_at_the_first_mistake() -> None:
    write(GOOD.replace('cluster = "blue"', 'cluster = "red"'))
    with pytest.raises(ConfigError) as caught:
        Config.load()
    assert (caught.value.setting, caught.value.where) == ("domains.orders.cluster", "redrive.toml:8")


@pytest.mark.parametrize(
    ("text", "line"),
    [('[registry]\nurl = "x', 2), ("[registry]\nurl = 1\nurl = 2\n", 3), ("a b\n", 1)],
    ids=["unfinished", "twice", "no assignment"],
)
def test_what_is_not_toml_is_shown_with_its_line(text: str, line: int) -> None:
    (mistake,) = mistakes(text)
    assert mistake.startswith(f"redrive.toml:{line}: redrive.toml: is not TOML")


def test_a_mistake_in_the_environment_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDRIVE_DOMAINS__ORDERS__CLUSTER", "red")
    monkeypatch.setenv("REDRIVE_CLUSTRS__BLUE__BOOTSTRAP", "x:1")
    assert mistakes(GOOD) == [
        "$REDRIVE_CLUSTRS__BLUE__BOOTSTRAP: clustrs.blue.bootstrap: is not a section of Redrive's settings; "
        "there are aws, backfills, clusters, corrections, domains, gateway, jobs, ledger, notifications, rebalancing, "
        "registry, scaling, standby, topics",
        "$REDRIVE_DOMAINS__ORDERS__CLUSTER: domains.orders.cluster: there is no cluster 'red'; there are blue",
    ]


SECURE = GOOD.replace(
    "[domains",
    'security_protocol = "SASL_SSL"\nusername = "redrive"\npassword = {}\n\n[domains',
)


def test_a_literal_secret_is_a_mistake_and_is_not_repeated() -> None:
    (mistake,) = mistakes(SECURE.replace("{}", '"hunter2"'))
    assert mistake == (
        'redrive.toml:9: clusters.blue.password: is the secret itself; write {env = "NAME"} or {file = "path"} instead'
    )


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ("registry", "http://me:hunter2@registry.example"),
        ("ledger", "postgresql://me:hunter2@db.example/ledger"),
        ("ledger", "postgresql://db.example/ledger?password=hunter2"),
        ("ledger", "postgresql://me:hunter2/w@db.example/ledger"),
        ("ledger", "postgresql://db.example/ledger?sslPassword=hunter2"),
        ("registry", "http://me:hunter2/w@registry.example"),
    ],
)
def test_a_password_in_a_url_is_a_mistake_and_is_not_repeated(section: str, url: str) -> None:
    without = GOOD if section == "ledger" else GOOD.split("\n\n", 1)[1]
    (mistake,) = mistakes(f'[{section}]\nurl = "{url}"\n\n{without}')
    assert mistake.startswith(f"redrive.toml:2: {section}.url: holds a password")
    assert "hunter2" not in mistake


@pytest.mark.parametrize("url", ["http://registry.example:8080/apis/v7", "https://me@registry.example:8080/"])
def test_a_port_or_a_user_in_a_url_is_no_password(url: str) -> None:
    assert mistakes(GOOD.replace("http://127.0.0.1:28081/apis/ccompat/v7", url)) == []


@pytest.mark.parametrize("value", ['"1MB"', "1e6", "true"])
def test_the_largest_message_is_a_number_of_bytes(value: str) -> None:
    (mistake,) = mistakes(GOOD + f'[topics.large]\ndomain = "orders"\nconfig = {{"max.message.bytes" = {value}}}\n')
    assert mistake.endswith("topics.large.config.max.message.bytes: must be a whole number, of bytes")


@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_secret_is_read_from_where_it_is_and_never_shown(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLUE_PASSWORD", "hunter2")
    Path("blue.secret").write_text("hunter2\n")
    write(SECURE.replace("{}", {"env": '{env = "BLUE_PASSWORD"}', "file": '{file = "blue.secret"}'}[kind]))
    config = Config.load()
    cluster = config.cluster("blue")
    assert cluster.client_config()["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(config) + str(config) + repr(cluster) + config.model_dump_json()


def test_a_secret_that_is_not_there_is_named() -> None:
    write(SECURE.replace("{}", '{env = "BLUE_PASSWORD"}'))
    with pytest.raises(ConfigError, match=r"clusters\.blue\.password: the environment variable BLUE_PASSWORD is not"):
        Config.load().cluster("blue").client_config()


def test_sasl_without_a_user_is_a_mistake() -> None:
    (mistake,) = mistakes(GOOD.replace("[domains", 'security_protocol = "SASL_SSL"\n\n[domains'))
    assert mistake == "redrive.toml:4: clusters.blue: SASL_SSL needs a username and a password"


def test_another_database_than_the_two_is_a_mistake() -> None:
    (mistake,) = mistakes(GOOD + '[ledger]\nurl = "mysql://x/y"\n')
    assert mistake == ("redrive.toml:14: ledger.url: must be sqlite:///path or postgresql://user@host/name")


def test_lines_of_keys_are_found_whatever_the_way_they_are_written() -> None:
    lines = key_lines("""\
# [not.a.table]
a.b = 1
"quoted.key" = [
  1, # x = 2
]
[ t . "u.v" ] # comment
w = { x = 1 }
text = '''
[no]
y = 3
'''
[[many]]
z = 4
""")
    assert lines == {
        ("a",): 2,
        ("a", "b"): 2,
        ("quoted.key",): 3,
        ("t",): 6,
        ("t", "u.v"): 6,
        ("t", "u.v", "w"): 7,
        ("t", "u.v", "w", "x"): 7,
        ("t", "u.v", "text"): 8,
        ("many",): 12,
        ("many", "z"): 13,
    }


@pytest.mark.parametrize("section", ["corrections", "rebalancing"])
def test_an_unknown_setting_of_a_job_names_those_there_are(section: str) -> None:
    (found,) = mistakes(f'[{section}]\naproval = "none"\n{GOOD}')
    assert found.startswith(f"redrive.toml:2: {section}.aproval: is not a setting of Redrive; it knows approval, ")
