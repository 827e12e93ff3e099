"""How a function is invoked, and what the log that comes back says of it."""

import base64

import pytest

from loadgen.invocation import Invocation, Reported, reported

REQUEST_ID = "b5c1f6d0-0000-4000-8000-000000000001"
OTHER_ID = "b5c1f6d0-0000-4000-8000-000000000002"


def tail(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_choices_are_headers_and_a_query():
    how = Invocation("Event", "live/blue", "Tail")
    json = {"Content-Type": "application/json"}
    assert how.headers == {**json, "X-Amz-Invocation-Type": "Event", "X-Amz-Log-Type": "Tail"}
    assert how.query == "?Qualifier=live%2Fblue"
    assert Invocation().headers == {**json, "X-Amz-Invocation-Type": "RequestResponse"}
    assert Invocation().query == ""


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


REPORT = f"REPORT RequestId: {REQUEST_ID}\tDuration: 1.00 ms\tBilled Duration: 158 ms\t"
RECORD = f'"requestId":"{REQUEST_ID}"'


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (f"END RequestId: {REQUEST_ID}\n{REPORT}\n", Reported(REQUEST_ID, None)),
        (
            f"INIT_START Runtime\n{REPORT}Init Duration: 156.08 ms\t\nXRAY TraceId: 1-2\t\n",
            Reported(REQUEST_ID, 156.08),
        ),
        (f"{REPORT}Restore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\t\n", Reported(REQUEST_ID, None)),
        (f'{{"time":"t","type":"platform.report","record":{{{RECORD}}}}}', Reported(REQUEST_ID, None)),
        (
            f'{{"type":"platform.report","record":{{"metrics":{{"durationMs":1.5,"initDurationMs":156}},{RECORD}}}}}\n',
            Reported(REQUEST_ID, 156.0),
        ),
        (f"REPORT RequestId: {OTHER_ID}\tInit Duration: 9 ms, so it says\n{REPORT}\n", Reported(REQUEST_ID, None)),
        ("the end of a long line\nREPORT of sales: Init Duration: 9 ms\n", None),
        ('{"type":"platform.report","record":{}}', None),
    ],
)
def test_the_report_line_names_the_invocation_and_its_init(log, told):
    assert reported(tail(log)) == told


def test_what_is_no_base64_names_none():
    assert reported("***") is None
