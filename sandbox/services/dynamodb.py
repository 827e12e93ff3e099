"""DynamoDB for the handlers: moto's own operations, called without HTTP, so that the tables are those that any boto3
program sees.

moto checks, parses and executes; an update costs about half a millisecond, a read 20 us. Capacity is not limited; it is
counted as if every item were small: a written one of up to 1 KB takes one unit, a read of up to 4 KB half a unit, or
one where it is consistent (Amazon DynamoDB developer guide, "read and write operations"). The metrics' names and their
one dimension, TableName: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from moto.core.exceptions import ServiceException, _RESTError
from moto.dynamodb.responses import DynamoHandler

from sandbox.definitions import ACCOUNT_ID
from sandbox.services.errors import AwsError
from sandbox.sinks import MetricSink, NoMetrics

OPERATIONS = (
    "batch_get_item",
    "batch_write_item",
    "delete_item",
    "describe_table",
    "get_item",
    "put_item",
    "query",
    "scan",
    "transact_get_items",
    "transact_write_items",
    "update_item",
)

_WRITES = frozenset({"delete_item", "put_item", "update_item"})
_READS = frozenset({"get_item", "query", "scan"})
"""What batches and transactions consume is not counted."""


class DynamoDbService:
    """Item operations on moto's tables, with boto3's parameters and answers."""

    def __init__(self, metrics: MetricSink | None = None, now: Callable[[], float] = time.time) -> None:
        self._metrics = metrics or NoMetrics()
        self._now = now
        self._handler = DynamoHandler()
        self._handler.current_account = ACCOUNT_ID

    def call(self, operation: str, region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """`call("get_item", "us-east-1", {"TableName": "votes", "Key": {"vote_id": {"S": "a"}}})`.

        Raises AwsError ConditionalCheckFailedException, ResourceNotFoundException, ValidationException, ...
        """
        self._handler.region = region
        # moto keeps parts of the request in its tables and changes others
        self._handler.body = copy.deepcopy(dict(parameters))
        try:
            answer: dict[str, Any] = getattr(self._handler, operation)().result
        except _RESTError as error:
            raise _refusal(error) from None
        except ServiceException as error:
            raise AwsError(error.code, error.message) from None
        self._measure(operation, parameters)
        if "ReturnConsumedCapacity" not in parameters:
            answer.pop("ConsumedCapacity", None)
        return copy.deepcopy(answer)  # what the handler changes must not change the table

    def _measure(self, operation: str, parameters: Mapping[str, Any]) -> None:
        if operation in _WRITES:
            name, units = "ConsumedWriteCapacityUnits", 1.0
        elif operation in _READS:
            name, units = "ConsumedReadCapacityUnits", 1.0 if parameters.get("ConsistentRead") else 0.5
        else:
            return
        table = parameters["TableName"].rpartition("/")[2]
        self._metrics.add("AWS/DynamoDB", name, (("TableName", table),), self._now(), units)


def _refusal(error: _RESTError) -> AwsError:
    """moto's JSON error: the type has a namespace in front, the message may be in the description alone."""
    described = orjson.loads(error.description or b"{}") if isinstance(error.description, str) else {}
    message = described.get("message") or described.get("Message") or error.message
    return AwsError(str(error.error_type).rpartition("#")[2], str(message))
