"""Calls of SQS, SNS, EventBridge and Kinesis as botocore's own models read them, and answers judged per message."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qsl

import botocore.session
import pytest
from botocore.validate import ParamValidator

from loadgen.publishing import SERVICES, Message
from loadgen.transport import Response

MESSAGES = [Message(f'{{"number":{number},"text":"Größe & ü"}}', "run-1", f"c-{number}") for number in range(3)]
DESTINATIONS = {
    "sqs": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders",
    "sns": "arn:aws:sns:eu-west-1:123456789012:orders",
    "events": "orders",
    "kinesis": "orders",
}


def answer(status: int, body: str | bytes, **headers: str) -> Response:
    content = body.encode() if isinstance(body, str) else body
    return Response(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, content)


@pytest.mark.parametrize("service", ["sqs", "events", "kinesis"])
@pytest.mark.parametrize("count", [1, 3])
def test_json_calls_fit_botocores_model(service, count):
    call = SERVICES[service].call(count)
    parameters = json.loads(call.build(DESTINATIONS[service], MESSAGES[:count]))
    model = botocore.session.get_session().get_service_model(service)
    assert call.headers["X-Amz-Target"] == f"{model.metadata['targetPrefix']}.{call.operation}"
    assert call.headers["Content-Type"] == f"application/x-amz-json-{model.metadata['jsonVersion']}"
    for record in parameters.get("Records", [parameters]):
        if "Data" in record:
            record["Data"] = base64.b64decode(record["Data"])
    report = ParamValidator().validate(parameters, model.operation_model(call.operation).input_shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize("count", [1, 3])
def test_sns_calls_are_those_that_botocore_writes(count):
    call = SERVICES["sns"].call(count)
    model = botocore.session.get_session().get_service_model("sns").operation_model(call.operation)
    fields = [
        {
            "Message": message.body,
            "MessageAttributes": {
                "run_id": {"DataType": "String", "StringValue": "run-1"},
                "correlation_id": {"DataType": "String", "StringValue": message.correlation_id},
            },
        }
        for message in MESSAGES[:count]
    ]
    batch = [{"Id": str(index), **entry} for index, entry in enumerate(fields)]
    parameters = {"TopicArn": DESTINATIONS["sns"]} | (
        fields[0] if count == 1 else {"PublishBatchRequestEntries": batch}
    )
    expected = botocore.serialize.create_serializer("query").serialize_to_request(parameters, model)["body"]
    assert dict(parse_qsl(call.build(DESTINATIONS["sns"], MESSAGES[:count]).decode())) == expected


def test_a_stream_is_a_name_or_an_arn():
    arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
    assert json.loads(SERVICES["kinesis"].single.build(arn, MESSAGES[:1]))["StreamARN"] == arn


@pytest.mark.parametrize(
    ("service", "body", "failures"),
    [
        ("sqs", '{"Successful":[{"Id":"0"},{"Id":"2"}],"Failed":[{"Id":"1","Code":"InternalError"}]}', "InternalError"),
        (
            "sns",
            '<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishBatchResult><Successful>'
            "<member><MessageId>m</MessageId><Id>0</Id></member><member><Id>2</Id></member></Successful><Failed><member>"
            "<Id>1</Id><Code>Throttled</Code><SenderFault>false</SenderFault></member></Failed></PublishBatchResult>"
            "</PublishBatchResponse>",
            "Throttled",
        ),
        (
            "events",
            '{"FailedEntryCount":1,"Entries":[{"EventId":"a"},{"ErrorCode":"ThrottlingException"},{"EventId":"b"}]}',
            "ThrottlingException",
        ),
        (
            "kinesis",
            '{"FailedRecordCount":1,"Records":[{"SequenceNumber":"1"},'
            '{"ErrorCode":"ProvisionedThroughputExceededException"},{"SequenceNumber":"2"}]}',
            "ProvisionedThroughputExceededException",
        ),
    ],
)
def test_a_failed_message_inside_a_200_fails_alone(service, body, failures):
    assert SERVICES[service].batch.failures(answer(200, body), 3) == ["", failures, ""]


@pytest.mark.parametrize("service", SERVICES)
def test_a_refused_call_fails_every_message(service):
    said = answer(400, '{"__type":"com.amazonaws.x#ThrottlingException"}')
    assert SERVICES[service].batch.failures(said, 2) == ["HTTP 400 Bad Request: ThrottlingException"] * 2


def test_the_reason_of_a_refusal_is_in_xml_or_in_a_header_too():
    xml = answer(404, "<ErrorResponse><Error><Code>NotFound</Code></Error></ErrorResponse>")
    header = answer(400, "", x_amzn_ErrorType="com.amazonaws.sqs#QueueDoesNotExist")
    assert SERVICES["sns"].single.failures(xml, 1) == ["HTTP 404 Not Found: NotFound"]
    assert SERVICES["sqs"].single.failures(header, 1) == ["HTTP 400 Bad Request: QueueDoesNotExist"]


@pytest.mark.parametrize(
    ("service", "body", "failure"),
    [
        ("sqs", '{"Successful":[{"Id":"0"}]}', "the answer does not name this message"),
        ("kinesis", '{"Records":[{"SequenceNumber":"1"}]}', "the answer does not name this message"),
        ("events", "{}", "the answer cannot be understood"),
        ("sns", "<html", "the answer cannot be understood"),
        ("sqs", "[1]", "the answer cannot be understood"),
    ],
)
def test_no_message_counts_as_taken_that_the_answer_does_not_name(service, body, failure):
    assert SERVICES[service].batch.failures(answer(200, body), 2)[1] == failure
