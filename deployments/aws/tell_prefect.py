"""The function on AWS Lambda that tells Prefect of an alarm. It stands alone: only this file is there."""

import json
import os
import urllib.request
from typing import Any


def handler(alarm: dict[str, Any], _: object) -> None:
    """Send `redrive.broker.cpu_high` for the cluster whose alarm went off; EventBridge tries again if that fails."""
    cluster = os.environ["CLUSTER"]
    event = {
        "id": alarm["id"],  # the same if it is sent again
        "occurred": alarm["time"],
        "event": "redrive.broker.cpu_high",
        "resource": {
            "prefect.resource.id": f"redrive.cluster.{cluster}",
            "prefect.resource.name": cluster,
            # Tells it from the job's own events, which must not start the job anew.
            "redrive.alarm": alarm["detail"]["alarmName"],
        },
        "payload": {"cluster": cluster},
    }
    request = urllib.request.Request(
        os.environ["PREFECT_API_URL"] + "/events",
        data=json.dumps([event]).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
