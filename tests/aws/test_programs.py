"""What programs are told, and whether they would understand it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import prefect
import pytest

from deployments.aws.image import check_image
from deployments.aws.registry import VERSION
from redrive.config import Config
from redrive.errors import ConfigError
from redrive.security.iam import cluster_arn
from tests.aws.conftest import EXAMPLE
from tests.aws.template import ACCOUNT, BROKERS, REGION, UNIQUE, Platform

PROGRAMS = {"Worker", "SetUp", "Gateway", "Prefect", "Registry"}


def test_there_are_these_programs(platform: Platform) -> None:
    assert platform.containers().keys() == PROGRAMS


@pytest.mark.parametrize("program", ["Worker", "SetUp", "Gateway"])
def test_a_program_s_variables_go_with_the_settings_of_its_image(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    environment = platform.environment(program)
    assert environment.pop("REDRIVE_CONFIG") == "/redrive/deployments/aws/example.toml"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Config.check(EXAMPLE) == []
    config = Config.load(EXAMPLE)
    assert config.clusters["orders"].bootstrap == BROKERS
    menu = f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/redrive-menu-eu/{UNIQUE}"
    assert cluster_arn(config.clusters["menu-eu"]) == menu
    (inside,) = platform.resources("AWS::ElasticLoadBalancingV2::LoadBalancer", "jobs")
    assert config.registry.url == f"http://{inside}.DNSName:8080/apis/ccompat/v7"
    client = config.cluster("orders").client_config()
    assert (client["security.protocol"], client["sasl.mechanism"]) == ("SASL_SSL", "OAUTHBEARER")


def test_the_worker_comes_to_the_ledger_with_a_checked_certificate_and_a_password_from_secrets_manager(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = platform.environment("Worker") | {"REDRIVE_CONFIG": str(EXAMPLE)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = Config.load().ledger_url()
    assert (url.drivername, url.username, url.database) == ("postgresql", "ledger", "ledger")
    assert url.query["sslmode"] == "verify-full"
    assert str(url.password).endswith(":password::")  # the field of a secret that ECS reads it from


def test_the_gateway_is_reached_from_outside_its_container(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (platform.environment("Gateway") | {"REDRIVE_CONFIG": str(EXAMPLE)}).items():
        monkeypatch.setenv(name, value)
    door = Config.load().door()
    (mapping,) = platform.containers()["Gateway"]["PortMappings"]
    assert (door.host, door.port) == ("0.0.0.0", mapping["ContainerPort"])
    (targets,) = platform.properties("AWS::ElasticLoadBalancingV2::TargetGroup", "gateway")
    patience = {one["Key"]: one["Value"] for one in targets["TargetGroupAttributes"]}
    assert float(patience["deregistration_delay.timeout_seconds"]) >= door.answer_within + door.body_timeout


def test_the_gateway_has_time_to_stop_and_its_connections_rest_longer_than_the_balancer_lets_them(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (platform.environment("Gateway") | {"REDRIVE_CONFIG": str(EXAMPLE)}).items():
        monkeypatch.setenv(name, value)
    door = Config.load().door()
    assert platform.containers()["Gateway"]["StopTimeout"] == door.stops_within == 75
    (balancer,) = platform.properties("AWS::ElasticLoadBalancingV2::LoadBalancer", "gateway")
    given = {one["Key"]: one["Value"] for one in balancer["LoadBalancerAttributes"]}
    assert door.answer_within + door.body_timeout < float(given["idle_timeout.timeout_seconds"]) < door.keep_alive


def test_prefect_knows_every_setting_that_it_is_given_and_comes_to_its_database(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import Settings
    from prefect.settings.models.root import Settings as Root

    given = {name: value for name, value in platform.environment("Prefect").items() if name.startswith("PREFECT_")}
    assert given.keys() <= names_of(Root)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    database = Settings().server.database
    tls = database.sqlalchemy.connect_args.tls
    assert (database.driver, database.user, database.name) == ("postgresql+asyncpg", "prefect", "prefect")
    assert (tls.enabled, tls.check_hostname, tls.ca_file) == (True, True, "/etc/ssl/certs/rds.pem")
    assert database.connection_url is not None
    assert database.connection_url.get_secret_value().startswith("postgresql+asyncpg://prefect:")


def names_of(settings: Any) -> set[str]:
    """All variables that a model of Prefect's settings takes."""
    from pydantic import AliasChoices

    found = set()
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        found.add(f"{prefix}{name}".upper())
        if isinstance(field.validation_alias, AliasChoices):
            found |= {str(one).upper() for one in field.validation_alias.choices}
        if hasattr(field.annotation, "model_fields"):
            found |= names_of(field.annotation)
    return found


def test_the_registry_is_the_version_that_redrive_is_tested_with(platform: Platform) -> None:
    from deployments.local import lock

    assert lock.REGISTRY == VERSION
    assert platform.containers()["Registry"]["Image"] == f"apicurio/apicurio-registry:{VERSION}"


def test_no_secret_stands_in_a_template(platform: Platform) -> None:
    for program in PROGRAMS:
        plain = {one["Name"] for one in platform.containers()[program].get("Environment", [])}
        assert not [name for name in plain if name.endswith(("PASSWORD", "SECRET", "KEY"))]
    assert REGION in str(platform.containers()["Worker"]["LogConfiguration"])


def test_the_image_has_what_programs_need_and_nothing_that_is_not_named(platform: Platform) -> None:
    (image,) = (one for one in platform.folder.glob("asset.*") if (one / "deployments/aws/Dockerfile").exists())
    folders = {"deployments", "flows", "redrive", "rules", "schemas", "tasks"}
    files = {".dockerignore", "prefect.yaml", "pyproject.toml", "README.md", "redrive.toml", "requirements.lock"}
    assert {one.name for one in image.iterdir()} == folders | files
    config = Config.load(image / "deployments/aws/example.toml")
    assert config.topic("flights.departed").schema is not None
    assert not list(image.rglob("__pycache__"))


def test_settings_that_dockerignore_leaves_out_of_the_image_are_refused(platform: Platform) -> None:
    check_image(platform.folder)
    with pytest.raises(
        ConfigError, match=r"\.dockerignore: leaves out of the image .* there is no file .*/tests/own\.toml"
    ):
        check_image(platform.folder, Path("tests/own.toml"))


def test_a_new_version_that_does_not_come_up_is_taken_back(platform: Platform) -> None:
    services = platform.properties("AWS::ECS::Service")
    assert len(services) == 4
    for one in services:
        assert one["DeploymentConfiguration"]["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}


def test_there_are_never_two_servers_of_prefect_and_the_worker_waits_for_the_first(platform: Platform) -> None:
    services = {name.split("Service")[0]: one for name, one in platform.resources("AWS::ECS::Service").items()}
    server = services["Prefect"]["Properties"]
    assert (server["DesiredCount"], server["DeploymentConfiguration"]["MaximumPercent"]) == (1, 100)
    assert [name for name in services["Worker"]["DependsOn"] if name.startswith("PrefectService")]


class _Api(BaseHTTPRequestHandler):
    """Prefect's API, as far as work pools go: there is one already."""

    got: ClassVar[list[tuple[str, str, Any]]] = []

    def do_GET(self) -> None:
        if self.path == "/api/admin/version":
            self._answer(200, json.dumps(prefect.__version__))
        else:  # a token against CSRF: there are none
            self._answer(404, "{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.command, self.path, json.loads(body)))
        self._answer(409, "{}")

    def do_PATCH(self) -> None:
        self.got.append((self.command, self.path, None))
        self._answer(204, "")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def set_up(platform: Platform, folder: Path, api: str) -> subprocess.CompletedProcess[str]:
    """Run the task's command, with a `redrive` that says how it was called and which variables it has."""
    variables = {name: value for name, value in platform.environment("SetUp").items() if "MENU-EU" in name}
    assert "REDRIVE_CLUSTERS__MENU-EU__BOOTSTRAP" in variables
    (folder / "redrive").write_text(f"#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], sorted(os.environ))\n")
    (folder / "redrive").chmod(0o755)
    (python, *arguments) = platform.containers()["SetUp"]["Command"]
    assert python == "python"
    environment = {**os.environ, **variables, "PATH": f"{folder}:{os.environ['PATH']}", "PREFECT_API_URL": api}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


def test_the_setting_up_makes_topics_and_jobs_and_leaves_a_work_pool_alone_that_is_there(
    platform: Platform, tmp_path: Path
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = set_up(platform, tmp_path, f"http://127.0.0.1:{server.server_port}/api")
        server.shutdown()
    assert run.returncode == 0, run.stderr
    first, second = (line for line in run.stdout.splitlines() if not line.startswith("$"))
    assert "['topics', 'apply']" in first
    assert "['deploy']" in second
    for line in (first, second):
        assert "'REDRIVE_CLUSTERS__MENU-EU__BOOTSTRAP'" in line
    ((method, path, pool),) = _Api.got
    assert (method, path) == ("POST", "/api/work_pools/"), "a PATCH would undo a pause"
    assert (pool["name"], pool["type"]) == ("redrive", "process")


def test_the_setting_up_ends_with_what_fails(platform: Platform, tmp_path: Path) -> None:
    run = set_up(platform, tmp_path, "http://127.0.0.1:1/api")
    assert run.returncode == 3, run.stderr
    assert "redrive: the work pool failed (3); what comes after it was not done" in run.stderr
    assert "'deploy'" not in run.stdout
