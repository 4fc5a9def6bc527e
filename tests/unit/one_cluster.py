"""The settings of a platform of one cluster, for tests that need settings and no platform."""

from __future__ import annotations

from pathlib import Path

from redrive.config import Config

NOBODY = "127.0.0.1:1"
"""Where nobody listens."""


def one_cluster(
    folder: Path, *topics: str, cluster: str = "one", bootstrap: str = NOBODY, schema: str = "", more: str = ""
) -> Config:
    """Write ``redrive.toml``: topics of one domain; the registry is at nobody's address.

    Args:
        folder: where to.
        topics: what there is.
        cluster: the cluster's name.
        bootstrap: its address.
        schema: that of each topic, as JSON; empty: they have none.
        more: further lines.
    """
    if schema:
        (folder / "event.avsc").write_text(schema)
    has_schema = "schema = 'event.avsc'" if schema else ""
    lines = [
        f'[registry]\nurl = "http://{NOBODY}"',
        f'[clusters.{cluster}]\nbootstrap = "{bootstrap}"',
        f'[domains.sales]\ncluster = "{cluster}"',
        *(f'[topics."{topic}"]\ndomain = "sales"\n{has_schema}' for topic in topics),
        more,
    ]
    file = folder / "redrive.toml"
    file.write_text("\n".join(lines))
    return Config.load(file)
