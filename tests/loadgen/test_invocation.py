"""How a function is invoked, and the id in the log that comes back."""

import base64

import pytest

from loadgen.invocation import Invocation, reported_request_id

REQUEST_ID = "b5c1f6d0-0000-4000-8000-000000000001"
OTHER_ID = "b5c1f6d0-0000-4000-8000-000000000002"


def tail(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_choices_are_headers_and_a_query():
    how = Invocation("Event", "live/blue", "Tail")
    assert how.headers == {"X-Amz-Invocation-Type": "Event", "X-Amz-Log-Type": "Tail"}
    assert how.query == "?Qualifier=live%2Fblue"
    assert (Invocation().headers, Invocation().query) == ({"X-Amz-Invocation-Type": "RequestResponse"}, "")


def test_several_qualifiers_take_turns_under_names_of_their_own():
    turns = Invocation("Event", "blue, green").turns
    assert [(how.query, how.label) for how in turns] == [
        ("?Qualifier=blue", ":blue (Event)"),
        ("?Qualifier=green", ":green (Event)"),
    ]
    assert [(how.query, how.label) for how in Invocation(qualifier="live").turns] == [("?Qualifier=live", "")]


@pytest.mark.parametrize("choices", [{"invocation_type": "event"}, {"log_type": "All"}])
def test_unknown_choices_are_refused(choices):
    with pytest.raises(ValueError, match="there are"):
        Invocation(**choices)


@pytest.mark.parametrize(
    ("log", "request_id"),
    [
        (f"END RequestId: {REQUEST_ID}\nREPORT RequestId: {REQUEST_ID}\tDuration: 1.00 ms\t\n", REQUEST_ID),
        (f'{{"time":"t","type":"platform.report","record":{{"requestId":"{REQUEST_ID}"}}}}', REQUEST_ID),
        (f"REPORT RequestId: {OTHER_ID}\tso it says\nREPORT RequestId: {REQUEST_ID}\tDuration: 1.00 ms\n", REQUEST_ID),
        ("the end of a long line\nno report\n", ""),
    ],
)
def test_the_report_line_names_the_invocation(log, request_id):
    assert reported_request_id(tail(log)) == request_id


def test_what_is_no_base64_names_none():
    assert reported_request_id("***") == ""
