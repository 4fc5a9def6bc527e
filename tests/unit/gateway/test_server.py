"""What the settings mean for the server."""

from __future__ import annotations

from redrive.config import GatewayConfig
from redrive.gateway.server import server_config


def test_a_stop_leaves_time_for_a_body_that_is_still_to_come_and_for_its_events_to_be_made_safe() -> None:
    settings = GatewayConfig(types={}, partners={}, body_timeout=60.5, answer_within=20)
    assert (server_config(settings).timeout_graceful_shutdown or 0) > 60.5 + 20
