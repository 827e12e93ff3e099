"""Invoking: what each answer says of its invocation, in which order they come, and when they stop."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from config.errors import ConfigError
from config.settings import settings_from
from control.stack_outputs import with_outputs
from control.tuning.measuring import Invocation, Invoker, failure_of, measure, report_of
from control.tuning.payloads import Payload, read_payloads, sample_payloads, sampled_functions
from control.tuning.schedule import Call, calls
from control.tuning.tuner import Request, called_name, parse_memory, payloads_for
from tests.control.tuned import TuningLab

ID = "8286a188-ba32-4475-8077-530cd35c09a9"
OTHER = "11111111-2222-4333-8444-555555555555"
REPORT = (
    f"REPORT RequestId: {ID}\tDuration: 12.34 ms\tBilled Duration: 113 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 72 MB\t"
)
INIT = "Init Duration: 100.50 ms\t"
TRACE = "\nXRAY TraceId: 1-5e34a614-10bdxxxx\tSegmentId: 07f022a1d2\tSampled: true\t"
JSON_REPORT = json.dumps(
    {
        "time": "2026-11-21T10:00:00.000Z",
        "type": "platform.report",
        "record": {
            "requestId": ID,
            "status": "success",
            "metrics": {"durationMs": 12.34, "billedDurationMs": 113, "memorySizeMB": 128, "maxMemoryUsedMB": 72},
        },
    }
)


def tail(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"START RequestId: {ID} Version: 3\nhello\nEND RequestId: {ID}\n{REPORT}\n",
        f"cut off line\nEND RequestId: {ID}\n{REPORT}{TRACE}\n",
        f"{REPORT.replace(ID, OTHER)}\n{REPORT}\n",
        f'{{"level":"INFO","message":"x"}}\n{JSON_REPORT}\n',
    ],
    ids=["text", "traced", "after one that the function printed", "json"],
)
def test_the_report_is_found_in_the_tail(text):
    found = report_of(tail(text), ID)
    assert (found["duration_ms"], found["billed_ms"], found["max_memory_mb"]) == (12.34, 113, 72)


@pytest.mark.parametrize("log", [None, "", tail("hello"), tail(REPORT.replace(ID, OTHER)), tail(REPORT[:50])])
def test_a_tail_without_the_report_of_this_invocation_has_none(log):
    assert "duration_ms" not in report_of(log, ID)


@pytest.mark.parametrize(
    ("error", "body", "failure"),
    [
        (None, b"null", None),
        (None, b"", None),
        (None, b"not json", None),
        (None, b'{"statusCode":200}', None),
        (None, b'{"batchItemFailures":[]}', None),
        ("Unhandled", b'{"errorType":"ValueError","errorMessage":"no"}', "ValueError: no"),
        ("Unhandled", b"", "Unhandled"),
        (None, b'{"statusCode":502,"body":"x"}', "it answered with statusCode 502: x"),
        (None, b'{"batchItemFailures":[{}]}', "it reports 1 failed messages of its batch"),
    ],
)
def test_a_failure_is_known_by_the_error_or_by_what_was_answered(error, body, failure):
    assert failure_of(error, body) == failure


class Answering:
    """boto3's client with one answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def invoke(self, **arguments: Any) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Body:
    def read(self) -> bytes:
        return b"null"


def refusal(status: int, code: str) -> ClientError:
    document: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(document, "Invoke")


def invoked(answer: Any) -> Invocation:
    return Invoker(Answering(answer), "f", {128: "a"}, [Payload(b"{}")], lambda: 0.0)(Call(0, 128, 0, None))


def answered(log: str) -> dict[str, Any]:
    return {"Payload": Body(), "LogResult": tail(log), "ResponseMetadata": {"RequestId": ID}}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (answered(REPORT), "warm"),
        (answered(REPORT + INIT), "cold"),
        (answered("no report"), "lost"),
        (refusal(429, "TooManyRequestsException"), "throttled"),
        (refusal(500, "ServiceException"), "lost"),
        (ReadTimeoutError(endpoint_url="http://x"), "lost"),
    ],
)
def test_an_invocation_has_an_outcome(answer, outcome):
    assert invoked(answer).outcome == outcome


def test_a_refusal_that_will_not_change_is_raised():
    with pytest.raises(ClientError, match="AccessDenied"):
        invoked(refusal(403, "AccessDeniedException"))


# -------------------------------------------------------------------- the order


def test_every_round_has_every_value_once_and_one_payload():
    planned = calls((128, 256, 512), [1.0, 1.0], 10, None, Random(1))
    rounds = [planned[begin : begin + 3] for begin in range(0, 30, 3)]
    assert [sorted(call.memory_mb for call in of_round) for of_round in rounds] == [[128, 256, 512]] * 10
    assert {len({(call.round, call.payload) for call in of_round}) for of_round in rounds} == {1}
    assert len({tuple(call.memory_mb for call in of_round) for of_round in rounds}) > 1


@pytest.mark.parametrize(
    ("weights", "rounds", "shares"),
    [([3.0, 1.0], 8, [6, 2]), ([1.0, 1.0, 1.0], 4, [2, 1, 1]), ([98.0, 1.0, 1.0], 50, [49, 1, 0]), ([5.0], 3, [3])],
)
def test_payloads_come_by_their_weights(weights, rounds, shares):
    counted = Counter(call.payload for call in calls((128,), weights, rounds, None, Random(1)))
    assert [counted[number] for number in range(len(weights))] == shares


def test_arrivals_are_even():
    assert [call.due_s for call in calls((128, 256), [1.0], 2, 4.0, Random(1))] == [0.0, 0.25, 0.5, 0.75]


# -------------------------------------------------------------------- measuring


def made(
    planned: Iterable[Call], invoke: Callable[[Call], Invocation], concurrency: int = 1, **how: Any
) -> list[Invocation]:
    taken: list[Invocation] = []

    def take(invocation: Invocation) -> bool:
        taken.append(invocation)
        return True

    times = {"clock": lambda: 0.0, "sleep": lambda seconds: None, "take": take, **how}
    measure(planned, invoke, concurrency=concurrency, **times)
    return taken


def answer(call: Call, outcome: Any = "warm") -> Invocation:
    return Invocation(call, 0.0, 0.0, 1.0, outcome)


def test_a_value_that_failed_gets_no_more_calls():
    planned = calls((128, 256), [1.0], 10, None, Random(1))
    taken = made(planned, lambda call: answer(call, "failed" if call.memory_mb == 128 and call.round == 2 else "warm"))
    assert Counter(one.call.memory_mb for one in taken) == {128: 3, 256: 10}


def test_so_many_are_under_way_at_a_time():
    together = threading.Barrier(3, timeout=60)

    def invoke(call: Call) -> Invocation:
        together.wait()
        return answer(call)

    assert len(made(calls((128,), [1.0], 6, None, Random(1)), invoke, concurrency=3)) == 6


def test_what_an_invocation_raises_ends_it_all():
    def invoke(call: Call) -> Invocation:
        raise refusal(403, "AccessDeniedException")

    with pytest.raises(ClientError, match="AccessDenied"):
        made(calls((128,), [1.0], 50, None, Random(1)), invoke, concurrency=4)


def test_who_takes_them_may_end_it():
    sent: list[Call] = []

    def invoke(call: Call) -> Invocation:
        sent.append(call)
        return answer(call)

    made(calls((128,), [1.0], 50, None, Random(1)), invoke, take=lambda one: one.call.round < 4)
    assert len(sent) == 5


def test_arrivals_wait_until_they_are_due_and_say_how_late_they_were():
    now = [100.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def invoke(call: Call) -> Invocation:
        now[0] += 0.7  # longer than the half second between two arrivals
        return answer(call)

    planned = calls((128,), [1.0], 3, 2.0, Random(1))
    taken = made(planned, invoke, clock=lambda: now[0], sleep=sleep)
    assert [one.late_ms for one in taken] == pytest.approx([0, 200, 400])


# -------------------------------------------------------------------- payloads


def payload_file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("one.json", '{"a": 1}', [(b'{"a":1}', 1.0)]),
        ("weighted.json", '[{"payload": {"a": 1}, "weight": 3}, {"payload": [2]}]', [(b'{"a":1}', 3.0), (b"[2]", 1.0)]),
        (
            "lines.jsonl",
            '{"a": 1}\n\n[1]\n{"payload": 2, "weight": 0.5}\n',
            [(b'{"a":1}', 1), (b"[1]", 1), (b"2", 0.5)],
        ),
        ("own.json", '{"payload": 1, "weight": 2, "more": 3}', [(b'{"payload":1,"weight":2,"more":3}', 1.0)]),
    ],
)
def test_a_payload_file_is_read(tmp_path, name, text, found):
    read = read_payloads(payload_file(tmp_path, name, text))
    assert [(payload.content, payload.weight) for payload in read] == found


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", "[1]", "a list must hold"),
        ("a.json", "[]", "holds no payload"),
        ("a.jsonl", '{"payload": 1, "weight": 0}', "above 0, not 0"),
        ("a.jsonl", '{"payload": 1, "weight": true}', "above 0, not True"),
    ],
)
def test_a_payload_file_that_is_wrong_is_told_so(tmp_path, name, text, problem):
    with pytest.raises(ConfigError, match=f"PAYLOAD: .*{problem}"):
        read_payloads(payload_file(tmp_path, name, text))


def test_a_payload_file_that_is_not_there_is_told_so(tmp_path):
    with pytest.raises(ConfigError, match=r"PAYLOAD: .*No such file"):
        read_payloads(tmp_path / "none.json")


@pytest.fixture(scope="module")
def lab() -> TuningLab:
    return TuningLab()


@pytest.mark.parametrize("function", sampled_functions())
def test_every_sample_function_takes_its_samples(lab, tmp_path, function):
    """The real handlers, twice each: they fail on what they do not understand."""
    name = lab.name(function)
    invoke = Invoker(lab.invoke_client, name, {128: "$LATEST"}, lab.payloads(function), lab.clock.now)
    done = [invoke(Call(number, 128, number, None)) for number in range(2)]
    assert [(one.outcome, one.error) for one in done] == [("cold", None), ("warm", None)]


def test_sample_sales_need_the_shops_key():
    with pytest.raises(ConfigError, match="SHOP_PUBLIC_KEY: not set"):
        sample_payloads("shop-decrypt", Random(1), None)
    with pytest.raises(ConfigError, match="SHOP_PUBLIC_KEY: it is not"):
        sample_payloads("shop-accept", Random(1), "bm8=")


def test_other_functions_have_no_samples():
    assert sample_payloads("mine", Random(1), None) is None


# -------------------------------------------------------------------- what is asked for


def test_memory_values_are_sorted_and_each_once():
    assert parse_memory("512, 128 256,128") == (128, 256, 512)


@pytest.mark.parametrize("text", ["64", "10241", "x", "128,-1", ""])
def test_memory_that_lambda_does_not_have_is_refused(text):
    with pytest.raises(ConfigError, match="MEMORY: "):
        parse_memory(text)


def asked(function: str, payload: str | None = None) -> tuple[str, Sequence[Payload]]:
    """The function and its payloads, of a stack with two of the sample functions."""
    settings = settings_from({})
    outputs = {"TopicConsumerFunction": "s-topic-consumer", "GetResultsFunction": "s-get-results"}
    request = Request(function, (128,), 1, "cost", 0.5, payload, 1, None, 1, False, None)
    resources = with_outputs(settings, outputs)
    return called_name(function, resources), payloads_for(settings, request, resources)


@pytest.mark.parametrize("function", ["topic-consumer", "s-topic-consumer"])
def test_a_sample_function_is_known_by_either_name_and_has_events(function):
    name, payloads = asked(function)
    assert (name, len(payloads)) == ("s-topic-consumer", 20)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("topic-consumer:live", "names a version or an alias"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:mine:3", "names a version or an alias"),
        ("mine", "PAYLOAD: needed for mine"),
        ("get-results", "PAYLOAD: needed for get-results"),
    ],
)
def test_a_function_that_cannot_be_tuned_so_is_refused(function, problem):
    with pytest.raises(ConfigError, match=problem):
        asked(function)
