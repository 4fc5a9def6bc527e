"""The standby table in DynamoDB.

One table; ``pk`` (string) and ``sk`` (number) are its key, ``expires`` its TTL attribute. No secondary index: every
read is a consistent query of one partition, because a read that can miss a written slot would lose events.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from redrive.errors import ConfigError, UnavailableError
from redrive.standby.store import Slot

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

TIMEOUT = 2.0
"""Seconds to wait for one answer; a call is tried three times within about three times that."""

CONNECTIONS = 32
"""How many calls may be under way at once."""

TOO_NEW = "ContinuousBackupsUnavailableException"
"""What DynamoDB says to who asks for point-in-time recovery in a table's first seconds or minutes."""
NEW_FOR = 120.0
"""Seconds in which that is asked for again, each `AGAIN`."""
AGAIN = 5.0


def _is_dynamodb_local(endpoint: str | None) -> bool:
    url = urlsplit(endpoint or "")
    return url.scheme == "http" and url.hostname in ("127.0.0.1", "localhost", "::1")


class DynamoStore:
    """`Store` on DynamoDB, or DynamoDB Local, through boto3. Thread-safe.

    Args:
        table: its name; `create` makes it.
        region: AWS region.
        endpoint: URL of DynamoDB Local or a VPC endpoint; None for AWS itself.

    Raises:
        ConfigError: AWS's own settings, such as its profile or half a pair of keys, are of no use.
    """

    def __init__(self, table: str, region: str, endpoint: str | None = None) -> None:
        self.table = table
        self._where = f"standby table {table} ({endpoint or 'DynamoDB ' + region})"
        # It asks nobody who they are, but the client signs requests, and would look for an account to sign them with.
        anybody = "local" if _is_dynamodb_local(endpoint) and "AWS_ACCESS_KEY_ID" not in os.environ else None
        try:
            self._client: DynamoDBClient = boto3.client(
                "dynamodb",
                region_name=region,
                endpoint_url=endpoint,
                aws_access_key_id=anybody,
                aws_secret_access_key=anybody,
                config=BotoConfig(
                    connect_timeout=TIMEOUT,
                    read_timeout=TIMEOUT,
                    retries={"mode": "standard", "total_max_attempts": 3},
                    max_pool_connections=CONNECTIONS,
                    tcp_keepalive=True,
                ),
            )
        except BotoCoreError as error:
            raise ConfigError("AWS", f"{self._where} can't be asked: {error}") from error
        self._client.meta.events.register("before-parse.dynamodb.Query", _parse_query)

    def create(self) -> None:
        """Create the table (on-demand capacity), wait for it, and `protect` it, also one that is there already.

        Raises:
            ConfigError, UnavailableError: as `protect`; or the table can't be made.
        """
        try:
            with suppress(self._client.exceptions.ResourceInUseException):  # it is there; or somebody is making it
                self._client.create_table(
                    TableName=self.table,
                    KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
                    AttributeDefinitions=[
                        {"AttributeName": "pk", "AttributeType": "S"},
                        {"AttributeName": "sk", "AttributeType": "N"},
                    ],
                    BillingMode="PAY_PER_REQUEST",
                )
            self._client.get_waiter("table_exists").wait(TableName=self.table)
        except (BotoCoreError, ClientError) as error:
            raise self._translate(error) from error
        self.protect()

    def lacks(self) -> list[str]:
        """Say what the table does not have, as one that was made by hand or restored from a backup.

        Without TTL on ``expires`` slots that nobody needs stay for good; without point-in-time recovery what waits
        can't be brought back if somebody deletes it. DynamoDB Local has no such recovery, so it lacks none there.
        """
        lacking: list[str] = []
        try:
            ttl = self._client.describe_time_to_live(TableName=self.table)["TimeToLiveDescription"]
            if ttl.get("TimeToLiveStatus") not in ("ENABLING", "ENABLED") or ttl.get("AttributeName") != "expires":
                lacking.append("TTL")
            backups = self._client.describe_continuous_backups(TableName=self.table)["ContinuousBackupsDescription"]
            recovery = backups.get("PointInTimeRecoveryDescription", {})
            if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
                lacking.append("point-in-time recovery")
        except (BotoCoreError, ClientError) as error:
            if _code(error) != "UnknownOperationException":
                raise self._translate(error) from error
        return lacking

    def protect(self) -> None:
        """Give the table what it `lacks`; one that was made just now may take two minutes.

        Raises:
            ConfigError: DynamoDB does not do it, and why.
        """
        deadline = time.monotonic() + NEW_FOR
        lacking = self.lacks()
        while lacking:
            try:
                self._give(lacking[0])
                lacking = lacking[1:]
            except (BotoCoreError, ClientError) as error:
                left = self.lacks()
                if lacking[0] in left:  # else somebody else has done so meanwhile
                    if _code(error) != TOO_NEW or time.monotonic() >= deadline:
                        raise self._translate(error) from error
                    time.sleep(AGAIN)
                lacking = left

    def _give(self, lacking: str) -> None:
        if lacking == "TTL":
            self._client.update_time_to_live(
                TableName=self.table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"}
            )
        else:
            self._client.update_continuous_backups(
                TableName=self.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
            )

    def put_new(self, pk: str, sk: int, slot: Slot) -> Slot | None:
        """See `Store.put_new`; a slot that an earlier, unanswered try of this very call wrote counts as written."""
        item: dict[str, Any] = {"pk": {"S": pk}, "sk": {"N": str(sk)}, "k": {"S": slot.kind}, "t": {"S": slot.token}}
        for name, number in (("n", slot.events), ("u", slot.doubtful), ("o", slot.oldest), ("e", slot.epoch)):
            if number:
                item[name] = {"N": str(number)}
        if slot.data:
            item["b"] = {"B": slot.data}
            item["z"] = {"N": str(len(slot.data))}
        for name, text in (("p", slot.producer), ("g", slot.target)):
            if text:
                item[name] = {"S": text}
        try:
            self._client.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            standing: Any = error.response.get("Item")
            if standing is None:
                raise UnavailableError(self._where, f"slot {pk} {sk} is taken, but was not returned") from error
            there = _slot(standing)
            return None if there.token == slot.token else there
        except (BotoCoreError, ClientError) as error:
            raise self._translate(error) from error
        return None

    def last(self, pk: str) -> tuple[int, Slot] | None:
        """See `Store.last`."""
        slots = self._query(pk, 0, ScanIndexForward=False, Limit=1)
        return slots[0][0] if slots[0] else None

    def read(self, pk: str, after: int) -> Iterator[tuple[int, Slot]]:
        """See `Store.read`; pages are DynamoDB's, at most 1 MB each."""
        start: dict[str, Any] = {}
        while True:
            slots, last = self._query(pk, after, **start)
            yield from slots
            if last is None:
                return
            start = {"ExclusiveStartKey": last}

    def outline(self, pk: str, after: int = 0) -> Iterator[tuple[int, Slot]]:
        """See `Store.outline`. It saves the way, not the read units: DynamoDB counts whole items."""
        start: dict[str, Any] = {"ProjectionExpression": "sk, k, t, n, u, o, e, p, z"}
        while True:
            slots, last = self._query(pk, after, **start)
            yield from slots
            if last is None:
                return
            start["ExclusiveStartKey"] = last

    def delete(self, pk: str, sks: Sequence[int]) -> None:
        """See `Store.delete`."""
        for i in range(0, len(sks), 25):
            requests: list[Any] = [
                {"DeleteRequest": {"Key": {"pk": {"S": pk}, "sk": {"N": str(sk)}}}} for sk in sks[i : i + 25]
            ]
            for _ in range(10):
                try:
                    answer = self._client.batch_write_item(RequestItems={self.table: requests})
                except (BotoCoreError, ClientError) as error:
                    raise self._translate(error) from error
                requests = answer["UnprocessedItems"].get(self.table, [])
                if not requests:
                    break
            else:
                raise UnavailableError(self._where, f"{len(requests)} deletes of {pk} stay unprocessed (throttled)")

    def expire(self, pk: str, sks: Sequence[int], at: int) -> None:
        """See `Store.expire`."""
        for sk in sks:
            try:
                self._client.update_item(
                    TableName=self.table,
                    Key={"pk": {"S": pk}, "sk": {"N": str(sk)}},
                    UpdateExpression="SET expires = :at",
                    ConditionExpression="attribute_exists(pk) AND k <> :events AND k <> :part",
                    ExpressionAttributeValues={
                        ":at": {"N": str(at)},
                        ":events": {"S": "events"},
                        ":part": {"S": "part"},
                    },
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                continue
            except (BotoCoreError, ClientError) as error:
                raise self._translate(error) from error

    def version(self, pk: str) -> int:
        """See `Store.version`."""
        try:
            answer = self._client.get_item(
                TableName=self.table, Key={"pk": {"S": pk}, "sk": {"N": "0"}}, ConsistentRead=True
            )
        except (BotoCoreError, ClientError) as error:
            raise self._translate(error) from error
        return int(answer["Item"]["v"]["N"]) if "Item" in answer else 0

    def bump(self, pk: str) -> None:
        """See `Store.bump`."""
        try:
            self._client.update_item(
                TableName=self.table,
                Key={"pk": {"S": pk}, "sk": {"N": "0"}},
                UpdateExpression="ADD v :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )
        except (BotoCoreError, ClientError) as error:
            raise self._translate(error) from error

    def _query(self, pk: str, after: int, **more: Any) -> tuple[list[tuple[int, Slot]], dict[str, Any] | None]:
        try:
            answer = self._client.query(
                TableName=self.table,
                KeyConditionExpression="pk = :pk AND sk > :after",
                ExpressionAttributeValues={":pk": {"S": pk}, ":after": {"N": str(after)}},
                ConsistentRead=True,
                **more,
            )
        except (BotoCoreError, ClientError) as error:
            raise self._translate(error) from error
        slots = [(int(item["sk"]["N"]), _slot(item)) for item in answer["Items"]]
        return slots, answer.get("LastEvaluatedKey")

    def _translate(self, error: BotoCoreError | ClientError) -> UnavailableError | ConfigError:
        match _code(error):
            case "ResourceNotFoundException":
                return ConfigError("standby.table", f"there is no table {self.table}; create it: redrive topics apply")
            case "AccessDeniedException" | "UnrecognizedClientException" | "ValidationException":
                return ConfigError("standby", f"{self._where} refuses: {error}")
            case code if code == TOO_NEW:
                return ConfigError("standby", f"{self._where} is too new: redrive topics apply again in some minutes")
        if isinstance(error, NoCredentialsError):  # boto3 has looked for them once, when the client was made
            way_out = (
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE) or a role; then start again"
            )
            return ConfigError("AWS", f"{self._where} can't be asked without credentials of AWS: {way_out}")
        return UnavailableError(self._where, str(error))


def _code(error: BotoCoreError | ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""


def _slot(item: dict[str, Any]) -> Slot:
    data = item["b"]["B"] if "b" in item else b""
    return Slot(
        kind=item["k"]["S"],
        token=item["t"]["S"],
        data=data if isinstance(data, bytes) else base64.b64decode(data),
        events=int(item["n"]["N"]) if "n" in item else 0,
        doubtful=int(item["u"]["N"]) if "u" in item else 0,
        oldest=int(item["o"]["N"]) if "o" in item else 0,
        epoch=int(item["e"]["N"]) if "e" in item else 0,
        producer=item["p"]["S"] if "p" in item else "",
        target=item["g"]["S"] if "g" in item else "",
        size=int(item["z"]["N"]) if "z" in item else 0,
        expires=int(item["expires"]["N"]) if "expires" in item else 0,
    )


def _parse_query(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take a page of a query apart with the plain JSON parser.

    botocore walks each attribute of each item through its shape classes, which more than halves the speed of a
    large read. Binary values stay base64 text here; `_slot` decodes them.
    """
    if response_dict["status_code"] == 200:
        customized_response_dict.update(json.loads(response_dict["body"]))
        response_dict["body"] = b"{}"
