"""Where several clusters have a fleet, a run that names none starts one for each."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from flows import broker_scaling as flow
from redrive.config import Config
from redrive.errors import ConfigError
from tasks.broker_scaling import steps as scaling
from tasks.broker_scaling.steps import scaled_clusters
from tasks.operations import WHO_LABEL

HEAD = """\
[registry]
url = "http://unused"
[domains]
[topics]
"""
CLUSTER = """\
[clusters.{name}]
bootstrap = "unused:9092"
"""
FLEET = """\
[clusters.{name}.fleet]
kind = "command"
load = ["echo"]
add = ["echo", "{{brokers}}"]
"""


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch, **has_fleet: bool) -> Config:
    parts = [CLUSTER.format(name=name) + FLEET.format(name=name) * has for name, has in has_fleet.items()]
    (folder / "redrive.toml").write_text(HEAD + "".join(parts))
    monkeypatch.setenv("REDRIVE_CONFIG", str(folder / "redrive.toml"))
    return Config.load()


def test_clusters_that_have_a_fleet_are_scaled_or_the_one_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, monkeypatch, west=True, north=False, east=True)
    assert scaled_clusters(config, None) == ["east", "west"]
    assert scaled_clusters(config, "north") == ["north"]  # which says itself what it lacks
    assert scaled_clusters(settings(tmp_path, monkeypatch, east=True, north=False), None) == ["east"]
    assert scaled_clusters(settings(tmp_path, monkeypatch, north=False), None) == ["north"]
    with pytest.raises(ConfigError, match="say which; there are east, west"):
        scaled_clusters(settings(tmp_path, monkeypatch, east=False, west=False), None)


@pytest.mark.parametrize("mode", ["plan", "run"])
def test_a_run_that_names_none_starts_one_of_its_deployment_for_each_and_a_second_time_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any
) -> None:
    settings(tmp_path, monkeypatch, east=True, west=True)
    runs: dict[str, Any] = {}
    who: set[str] = set()
    tags, tagged = ["redrive"], dict[str, list[str]]()
    parent = str(uuid4())

    class Client:
        def read_flow_run(self, _: Any) -> Any:
            return SimpleNamespace(id=parent, labels={WHO_LABEL: "anna"}, tags=tags)

        def update_flow_run(self, run: str, *, tags: list[str]) -> None:
            tagged[run] = tags

        def create_flow_run_from_deployment(self, _: Any, *, parameters: Any, labels: Any, idempotency_key: str) -> Any:
            runs.setdefault(idempotency_key, parameters["scale"])
            who.add(labels[WHO_LABEL])
            return SimpleNamespace(id=f"of-{idempotency_key.split()[1]}")

    monkeypatch.setattr(scaling, "get_client", lambda **_: nullcontext(Client()))
    monkeypatch.setattr(scaling, "deployment", SimpleNamespace(id=str(uuid4())))
    monkeypatch.setattr(scaling, "flow_run", SimpleNamespace(id=parent))
    monkeypatch.setattr(flow, "start_each", scaling.start_each.fn)
    scale = flow.Scale(mode=mode, threshold=70)
    for _ in range(2):
        state = cast(Any, flow.broker_scaling).fn(scale)
        assert (state.is_completed(), state.message) == (True, "started: a run for each: east of-east, west of-west")
        assert tagged == {parent: ["redrive", "started"]}, "every list of runs shows how it ended"
        tags = tagged[parent]
    wanted = [flow.Scale(mode=mode, threshold=70, cluster=name) for name in ("east", "west")]
    assert [flow.Scale.model_validate(each) for each in runs.values()] == wanted
    assert who == {"anna"}, "who may not approve what they do, with four_eyes"


def test_without_a_deployment_it_asks_which_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path, monkeypatch, east=True, west=True)
    monkeypatch.setattr(flow, "start_each", scaling.start_each.fn)
    with pytest.raises(ConfigError, match="say which; these have a fleet: east, west"):
        cast(Any, flow.broker_scaling).fn(flow.Scale())
