"""Loaded by the server that forks programs, and by nothing else: what each of them would else have to do again."""

from __future__ import annotations

import boto3

import tests.faults.backfill_flow
import tests.faults.correcting
import tests.faults.moving
import tests.faults.producing
import tests.faults.replaying
import tests.faults.switching  # noqa: F401

# botocore reads a megabyte of service model for the first client, and keeps it for the next.
boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")
