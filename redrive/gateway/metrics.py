"""What the gateway counts, for Prometheus. Partners are labels; event types, ids and topics are not."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter("redrive_gateway_requests", "Requests, but those for health.", ["partner", "status"])
EVENTS = Counter("redrive_gateway_events", "Events made safe, by path: main, standby, dead_letter.", ["path"])
REFUSED = Counter("redrive_gateway_refused_events", "Events not accepted, by the kind of problem.", ["problem"])
REPEATED = Counter("redrive_gateway_repeated_events", "Events that came again, and were not published again.")
KEY_SET_ASKS = Counter("redrive_gateway_key_set_asks", "Times that the issuer was asked for its keys.", ["outcome"])
for outcome in ("good", "failed"):
    KEY_SET_ASKS.labels(outcome)  # there from the start, so that the first failure is a rise
SECONDS = Histogram(
    "redrive_gateway_request_seconds",
    "Time from a request's headers to the end of its answer.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
