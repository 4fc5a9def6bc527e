"""What the settings mean for the server."""

from __future__ import annotations

from redrive.config import GatewayConfig
from redrive.gateway.app import CLOSE_WITHIN
from redrive.gateway.server import server_config


def test_connections_rest_for_longer_than_proxies_let_them() -> None:
    settings = GatewayConfig(types={}, partners={})
    assert server_config(settings).timeout_keep_alive > 60  # nginx, and AWS's load balancers, if nothing else is said
    assert server_config(settings.model_copy(update={"keep_alive": 200})).timeout_keep_alive == 200


def test_whoever_would_kill_it_waits_for_all_that_a_stop_takes() -> None:
    settings = GatewayConfig(types={}, partners={})
    graceful = server_config(settings).timeout_graceful_shutdown or 0
    assert settings.stops_within >= settings.drain + graceful + 2 * CLOSE_WITHIN
    assert settings.stops_within == 75  # as docs/gateway.md says


def test_a_stop_leaves_time_for_a_body_that_is_still_to_come_and_for_its_events_to_be_made_safe() -> None:
    settings = GatewayConfig(types={}, partners={}, body_timeout=60.5, answer_within=20)
    assert (server_config(settings).timeout_graceful_shutdown or 0) > 60.5 + 20
