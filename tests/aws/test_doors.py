"""Who may talk to whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.aws.template import Platform

WORLD = {"0.0.0.0/0", "::/0"}


def ingress(platform: Platform) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each rule, with the name of the group that it lets something into."""
    for name, group in platform.resources("AWS::EC2::SecurityGroup").items():
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            yield name, rule
    for rule in platform.properties("AWS::EC2::SecurityGroupIngress"):
        yield rule["GroupId"].removesuffix(".GroupId"), rule


def test_nothing_is_open_to_the_world_but_the_gateway_s_load_balancer_by_tls(platform: Platform) -> None:
    open_to_all = [
        (name, rule["FromPort"], rule["ToPort"])
        for name, rule in ingress(platform)
        if rule.get("CidrIp") in WORLD or rule.get("CidrIpv6") in WORLD
    ]
    assert [(name.startswith("DoorsBalancer"), *ports) for name, *ports in open_to_all] == [(True, 443, 443)]


def test_all_else_is_open_to_named_groups_and_single_ports(platform: Platform) -> None:
    rules = [rule for name, rule in ingress(platform) if not name.startswith("DoorsBalancer")]
    assert len(rules) > 15
    for rule in rules:
        assert rule["SourceSecurityGroupId"]
        assert rule["IpProtocol"] == "tcp"
        assert rule["FromPort"] == rule["ToPort"]


def test_a_database_is_reached_by_its_own_programs_only(platform: Platform) -> None:
    sources: dict[str, set[str]] = {}
    for name, rule in ingress(platform):
        if rule["FromPort"] == 5432:
            sources.setdefault(name.split("Database")[0], set()).add(rule["Description"])
    assert sources == {
        "DoorsLedger": {"from Worker", "from Operators"},
        "DoorsRegistry": {"from Registry"},
        "DoorsPrefect": {"from Prefect"},
    }


def test_partners_come_by_tls_and_only_to_the_gateway(platform: Platform) -> None:
    facing = {one["Scheme"]: one for one in platform.properties("AWS::ElasticLoadBalancingV2::LoadBalancer")}
    assert facing.keys() == {"internal", "internet-facing"}
    (listener,) = platform.properties("AWS::ElasticLoadBalancingV2::Listener", "gateway")
    assert (listener["Port"], listener["Protocol"]) == (443, "HTTPS")
    assert "TLS13" in listener["SslPolicy"]
    (targets,) = platform.properties("AWS::ElasticLoadBalancingV2::TargetGroup", "gateway")
    assert targets["HealthCheckPath"] == "/readyz"


def test_programs_have_no_address_outside_and_data_has_no_way_out(platform: Platform) -> None:
    for service in platform.properties("AWS::ECS::Service"):
        assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    data = {name for name in platform.resources("AWS::EC2::Subnet") if "dataSubnet" in name}
    assert len(data) == 3
    used = {subnet for one in platform.properties("AWS::RDS::DBSubnetGroup") for subnet in one["SubnetIds"]}
    for one in platform.properties("AWS::MSK::Cluster"):
        used |= set(one["BrokerNodeGroupInfo"]["ClientSubnets"])
    assert used == data
    out = [one["RouteTableId"] for one in platform.properties("AWS::EC2::Route")]
    assert not [table for table in out if "dataSubnet" in table]


def test_events_reach_the_standby_table_without_nat(platform: Platform) -> None:
    services = {one["ServiceName"].rsplit(".", 1)[1] for one in platform.properties("AWS::EC2::VPCEndpoint")}
    assert services == {"dynamodb", "s3"}
