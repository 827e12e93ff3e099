"""What a handler's `boto3.client(...)` is inside the sandbox: the same methods, answers and errors, without HTTP.

    clients = InProcessClients(kinesis=..., sns=..., kms=..., dynamodb=...)
    client = clients.make_client("kinesis", function)
    client.put_record(StreamName="votes", Data=b"...", PartitionKey="a")

Parameters are checked by botocore's own validator against the service's model, errors are botocore's ClientError (and
`client.exceptions.X`) with its text. Two things differ from boto3: there is one attempt, whatever the client's
configuration says (a retry would take modelled time that a synchronous handler does not have), and there are only the
data-plane operations listed by `dir(client)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import botocore.session
from boto3.dynamodb.conditions import ConditionBase, ConditionExpressionBuilder
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.errorfactory import ClientExceptionsFactory
from botocore.exceptions import ParamValidationError, UnknownServiceError
from botocore.model import OperationModel, ServiceModel
from botocore.validate import ParamValidator

from sandbox.definitions import FunctionDefinition
from sandbox.faults import Faults
from sandbox.services.dynamodb import OPERATIONS as DYNAMODB_OPERATIONS
from sandbox.services.dynamodb import DynamoDbService
from sandbox.services.errors import AwsError
from sandbox.services.eventbridge import EventBridgeService
from sandbox.services.kinesis import KinesisService
from sandbox.services.kms import KmsService
from sandbox.services.sns import SnsService
from sandbox.services.sqs import SqsService

Operation = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""(region, parameters) -> answer; raises AwsError."""

_VALIDATOR = ParamValidator()


class UnsupportedByTheSandbox(NotImplementedError):
    """A service or an operation that exists in AWS, but not for handlers in the sandbox."""


class InProcessClients:
    """Makes the clients that handlers get."""

    def __init__(
        self,
        *,
        kinesis: KinesisService,
        sns: SnsService,
        sqs: SqsService,
        eventbridge: EventBridgeService,
        kms: KmsService,
        dynamodb: DynamoDbService,
        faults: Faults | None = None,
    ) -> None:
        self._faults = faults or Faults()
        self._operations: dict[str, dict[str, Operation]] = {
            "kinesis": {"put_record": kinesis.put_record, "put_records": kinesis.put_records},
            "sns": {"publish": sns.publish, "publish_batch": sns.publish_batch},
            "sqs": {
                "send_message": sqs.send_message,
                "send_message_batch": sqs.send_message_batch,
                "receive_message": sqs.receive_message,
                "delete_message": sqs.delete_message,
                "delete_message_batch": sqs.delete_message_batch,
                "change_message_visibility": sqs.change_message_visibility,
            },
            "events": {"put_events": eventbridge.put_events},
            "kms": {"encrypt": kms.encrypt, "decrypt": kms.decrypt, "get_public_key": kms.get_public_key},
            "dynamodb": {name: functools.partial(dynamodb.call, name) for name in DYNAMODB_OPERATIONS},
        }
        self._clients: dict[tuple[str, str], Client] = {}

    def make_client(self, service: str, function: FunctionDefinition) -> Client:
        """The client of a service in the function's region. Clients keep no state, so there is one for all.

        Raises botocore's UnknownServiceError for what is no AWS service, UnsupportedByTheSandbox for another one.
        """
        region = function.arn.split(":")[3]
        client = self._clients.get((service, region))
        if client is None:
            model, exceptions = _service(service)
            operations = self._operations.get(service)
            if operations is None:
                raise UnsupportedByTheSandbox(
                    f"the sandbox gives handlers no {service} client; it has {', '.join(sorted(self._operations))}"
                )
            refusable = {name: _refusable(self._faults, name, called) for name, called in operations.items()}
            client = self._clients[(service, region)] = Client(model, exceptions, refusable, region)
        return client

    def make_resource(self, service: str, function: FunctionDefinition) -> DynamoDbResource:
        """What `boto3.resource("dynamodb")` gives. Raises UnsupportedByTheSandbox for any other service."""
        if service != "dynamodb":
            raise UnsupportedByTheSandbox(f"the sandbox gives handlers no {service} resource; it has dynamodb")
        return DynamoDbResource(self.make_client("dynamodb", function))


class ClientMeta:
    """The part of `client.meta` that code asks for."""

    def __init__(self, service_model: ServiceModel, region_name: str) -> None:
        self.service_model = service_model
        self.region_name = region_name


class Client:
    """One service's methods, as boto3 names them."""

    def __init__(self, model: ServiceModel, exceptions: Any, operations: Mapping[str, Operation], region: str) -> None:
        self.meta = ClientMeta(model, region)
        self.exceptions = exceptions
        """`client.exceptions.ResourceNotFoundException` and the like: classes for except clauses."""
        for name, operation in operations.items():
            setattr(self, name, _method(name, model.operation_model(_aws_name(name)), exceptions, operation, region))

    def __getattr__(self, name: str) -> Any:
        service = self.meta.service_model.service_name
        methods = [method for method, value in vars(self).items() if callable(value)]
        raise UnsupportedMethod(f"the sandbox's {service} client has no {name!r}; it has {', '.join(methods)}")


class UnsupportedMethod(UnsupportedByTheSandbox, AttributeError):
    """So that `hasattr(client, ...)` works as it does on a boto3 client."""


def _aws_name(name: str) -> str:
    """`put_record` -> `PutRecord`."""
    return "".join(part.capitalize() for part in name.split("_"))


def _refusable(faults: Faults, name: str, operation: Operation) -> Operation:
    """The operation, which a fault may refuse."""
    aws_name = _aws_name(name)

    def call(region: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        refused = faults.call(aws_name)
        if refused is not None:
            raise AwsError(refused.error_type, refused.error_message)
        return operation(region, parameters)

    return call


def _method(
    name: str, model: OperationModel, exceptions: Any, operation: Operation, region: str
) -> Callable[..., dict[str, Any]]:
    shape = model.input_shape

    def call(*args: Any, **parameters: Any) -> dict[str, Any]:
        if args:
            raise TypeError(f"{name}() only accepts keyword arguments.")
        report = _VALIDATOR.validate(parameters, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        try:
            answer = operation(region, parameters)
        except AwsError as error:
            raise _client_error(error, model, exceptions) from None
        answer["ResponseMetadata"] = _metadata(200)
        return answer

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{model.name} of the sandbox; see boto3's documentation of `{name}`."
    return call


def _client_error(error: AwsError, model: OperationModel, exceptions: Any) -> Exception:
    response = {
        "Error": {"Code": error.code, "Message": error.message},
        "ResponseMetadata": _metadata(error.status),
        "message": error.message,
    }
    made: Exception = exceptions.from_code(error.code)(response, model.name)
    return made


def _metadata(status: int) -> dict[str, Any]:
    return {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0}


@functools.cache
def _service(name: str) -> tuple[ServiceModel, Any]:
    """A service's model and exception classes."""
    session = botocore.session.get_session()
    if name not in session.get_available_services():
        raise UnknownServiceError(service_name=name, known_service_names=sorted(session.get_available_services()))
    model = session.get_service_model(name)
    return model, ClientExceptionsFactory().create_client_exceptions(model)


class DynamoDbResource:
    """`boto3.resource("dynamodb")`: tables with Python values instead of typed ones."""

    def __init__(self, client: Client) -> None:
        self.meta = _ResourceMeta(client)

    def Table(self, name: str) -> Table:
        return Table(name, self.meta.client)


class _ResourceMeta:
    def __init__(self, client: Client) -> None:
        self.client = client


class Table:
    """One table's item operations. Numbers are Decimal, as boto3's are."""

    def __init__(self, name: str, client: Client) -> None:
        self.name = self.table_name = name
        self.meta = _ResourceMeta(client)

    def get_item(self, **parameters: Any) -> dict[str, Any]:
        return self._call("get_item", parameters)

    def put_item(self, **parameters: Any) -> dict[str, Any]:
        return self._call("put_item", parameters)

    def update_item(self, **parameters: Any) -> dict[str, Any]:
        return self._call("update_item", parameters)

    def delete_item(self, **parameters: Any) -> dict[str, Any]:
        return self._call("delete_item", parameters)

    def query(self, **parameters: Any) -> dict[str, Any]:
        return self._call("query", parameters)

    def scan(self, **parameters: Any) -> dict[str, Any]:
        return self._call("scan", parameters)

    def _call(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        call = getattr(self.meta.client, operation)
        answer = call(TableName=self.name, **_typed_parameters(parameters))
        return {name: _plain(value) if name in _ITEM_MEMBERS else value for name, value in answer.items()}


_ITEM_MEMBERS = (
    "Attributes",
    "Item",
    "Items",
    "Key",
    "ExclusiveStartKey",
    "ExpressionAttributeValues",
    "LastEvaluatedKey",
)
_CONDITIONS: Sequence[tuple[str, bool]] = (
    ("KeyConditionExpression", True),
    ("FilterExpression", False),
    ("ConditionExpression", False),
)


def _typed_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Python values -> DynamoDB's typed ones; `Key("a").eq(1)` and the like -> expressions with placeholders."""
    typed = dict(parameters)
    builder = ConditionExpressionBuilder()
    for name, is_key_condition in _CONDITIONS:
        if isinstance(typed.get(name), ConditionBase):
            built = builder.build_expression(typed[name], is_key_condition=is_key_condition)
            typed[name] = built.condition_expression
            for member, placeholders in (
                ("ExpressionAttributeNames", built.attribute_name_placeholders),
                ("ExpressionAttributeValues", built.attribute_value_placeholders),
            ):
                if placeholders:
                    typed[member] = {**typed.get(member, {}), **placeholders}
    serializer = TypeSerializer()
    for name in ("Key", "Item", "ExpressionAttributeValues", "ExclusiveStartKey"):
        if name in typed:
            typed[name] = {key: serializer.serialize(value) for key, value in typed[name].items()}
    return typed


def _plain(value: Any) -> Any:
    deserializer = TypeDeserializer()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {key: deserializer.deserialize(item) for key, item in value.items()}
