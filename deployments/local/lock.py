"""Write ``jars.lock`` anew: ``python -m deployments.local.lock``. For maintainers, when a version changes.

Resolves the run-time class paths, downloads every file once (into ``.redrive/lock``) and notes size and SHA-256.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact, MavenContext

from deployments.local.jars import LOCK_FILE, Jar

KAFKA = "4.3.1"
DYNAMODB = "2.6.1"
REGISTRY = "3.3.3"
LOG4J = "2.25.4"

ROOTS = {
    "kafka": f"org.apache.kafka:kafka_2.13:{KAFKA}",
    "dynamodb": f"com.amazonaws:DynamoDBLocal:{DYNAMODB}",
}
# Added alone, without what they depend on.
KAFKA_EXTRAS = [
    # Kafka logs through SLF4J 1.7, and one chooses what is behind it. (As a root, Log4j's list of versions would
    # replace Kafka's own jars by older ones.)
    f"org.apache.logging.log4j:log4j-slf4j-impl:{LOG4J}",
    f"org.apache.logging.log4j:log4j-api:{LOG4J}",
    f"org.apache.logging.log4j:log4j-core:{LOG4J}",
    # The command-line tools as classes, without Kafka Connect and its web server, which they would bring along.
    f"org.apache.kafka:kafka-tools:{KAFKA}",
]


def main() -> None:
    """Resolve, download, write."""
    maven = MavenContext(repo_cache=Path(".redrive/lock"), timeout=60)
    wanted: list[tuple[str, Artifact]] = []
    for group, root in ROOTS.items():
        inputs, transitive = maven.resolver.resolve([maven.create_dependency(root)])
        # Native libraries are among them, too, but DynamoDB Local's own jar has those of more platforms.
        wanted += [(group, dependency.artifact) for dependency in inputs + transitive if dependency.type == "jar"]
    wanted += [("kafka", maven.create_dependency(extra).artifact) for extra in KAFKA_EXTRAS]
    registry = maven.project("io.apicurio", "apicurio-registry-app").at_version(REGISTRY)
    wanted.append(("registry", registry.artifact("all", "tar.gz")))

    def pin(item: tuple[str, Artifact]) -> Jar:
        group, artifact = item
        content = artifact.resolve().read_bytes()
        path = f"{artifact.component.path_prefix}/{artifact.filename}"
        return Jar(group, hashlib.sha256(content).hexdigest(), len(content), path)

    with ThreadPoolExecutor(8) as pool:
        jars = sorted(set(pool.map(pin, wanted)), key=lambda jar: (jar.group, jar.path))
    comment = "# group sha256 bytes path; written by `python -m deployments.local.lock`, do not edit\n"
    LOCK_FILE.write_text(comment + "".join(f"{jar}\n" for jar in jars))
    print(f"{LOCK_FILE}: {len(jars)} files, {sum(jar.size for jar in jars) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
