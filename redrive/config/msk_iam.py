"""Coming to Amazon MSK as an AWS identity (IAM access control), by a token that is signed here, with no password."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from redrive.errors import ConfigError, UnavailableError

MECHANISM = "AWS_MSK_IAM"
"""What MSK calls it, and the settings; on the wire it is OAUTHBEARER."""

_BROKER = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$")


def region_of(bootstrap: str) -> str:
    """Tell in which of AWS's regions brokers are, by their names; empty if they are no names that MSK gives."""
    hosts = (server.strip().rpartition(":")[0] for server in bootstrap.split(","))
    regions = {found[1] if (found := _BROKER.search(host)) else "" for host in hosts}
    return regions.pop() if len(regions) == 1 else ""


def client_config(bootstrap: str) -> dict[str, Any]:
    """Give what a confluent-kafka client needs for it, beside addresses and TLS."""
    return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": partial(token, region_of(bootstrap))}


def token(region: str, _: str = "") -> tuple[str, float]:
    """Sign a token with the credentials that boto3 finds; gives it, and until when it holds: seconds since 1970.

    Raises:
        ConfigError: the package that signs is not installed.
        UnavailableError: there are no credentials now.
    """
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    except ModuleNotFoundError as error:
        way_out = "pip install -e '.[msk]' in the copy of the repository"
        raise ConfigError("redrive[msk]", f"{MECHANISM} needs {error.name}: {way_out}") from error
    try:
        signed, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
    except Exception as error:  # of botocore, or of its own, by where credentials are looked for
        # Not the error's own text: nobody promises that it tells nothing.
        raise UnavailableError("AWS credentials", f"no token for MSK could be signed: {type(error).__name__}") from None
    return signed, expires_ms / 1000
