import copy

import pytest

from analysis.truth import compare

TRUTH = {
    "api": {"requests": 10, "by_status": {"200": 9, "502": 1}},
    "invoke": {"requests": 2, "by_status": {"200": 2}},
    "functions": {
        "place-vote": {
            "invocations": 12,
            "cold_starts": 1,
            "errors": 1,
            "timeouts": 0,
            "throttles": 0,
            "billed_ms": 360,
        }
    },
    "chains": {"shop": {"sent": 0, "accepted": 0, "completed": 0, "lost": 0, "duplicated": 0}},
    "pending": 0,
}
SUMMARY = {
    "client": {
        "endpoints": {
            "POST /vote": {"requests": 10, "status": {"200": 9, "502": 1}},
            "Invoke place-vote": {"requests": 2, "status": {"200": 2}},
        }
    },
    "functions": {
        "place-vote": {
            "invocations": 12,
            "cold_starts": 1,
            "errors": 1,
            "timeouts": 0,
            "throttles": 0,
            "billed_ms": {"sum": 360},
        }
    },
    "chains": {},
}


def unequal(summary, truth=TRUTH):
    return {c.name: (c.summary, c.truth) for c in compare(summary, truth) if not c.equal}


def test_equal_counts_have_no_difference():
    assert unequal(SUMMARY) == {}


def test_messages_are_compared_with_what_their_service_took():
    summary, truth = copy.deepcopy(SUMMARY), {**TRUTH, "messages": {"sqs": 9, "sns": 1}}
    summary["client"]["endpoints"]["SendMessageBatch to SQS"] = {"requests": 10, "failures": 1, "status": {"200": 10}}
    assert unequal(summary, truth) == {"messages.sns": (0, 1)}


def test_a_message_that_only_a_check_of_the_client_refused_was_taken():
    summary, truth = copy.deepcopy(SUMMARY), {**TRUTH, "messages": {"sqs": 9}}
    summary["client"]["endpoints"]["SendMessage to SQS"] = {"requests": 10, "failures": 3, "status": {"200": 10}}
    summary["client"]["failed_checks"] = {"SendMessage to SQS": {"time under 1s": 2}}
    assert unequal(summary, truth) == {}


def test_every_kind_of_count_is_compared():
    names = [c.name for c in compare(SUMMARY, TRUTH)]
    assert "api.by_status.502" in names
    assert "invoke.requests" in names
    assert "functions.place-vote.billed_ms" in names
    assert "chains.shop.lost" in names


@pytest.mark.parametrize("count", ["invocations", "cold_starts", "errors", "timeouts", "throttles"])
def test_a_count_that_is_off_by_one_is_named(count):
    summary = copy.deepcopy(SUMMARY)
    real = summary["functions"]["place-vote"][count]
    summary["functions"]["place-vote"][count] += 1
    assert unequal(summary) == {f"functions.place-vote.{count}": (real + 1, real)}


def test_requests_of_an_endpoint_that_are_off_by_one_are_named():
    summary = copy.deepcopy(SUMMARY)
    summary["client"]["endpoints"]["POST /vote"]["requests"] = 11
    assert unequal(summary) == {"api.requests": (11, 10)}


def test_a_figure_that_was_not_measured_is_not_equal_to_zero():
    summary = copy.deepcopy(SUMMARY)
    summary["functions"]["place-vote"]["throttles"] = None
    assert unequal(summary) == {"functions.place-vote.throttles": (None, 0)}


def test_a_function_only_the_truth_knows_is_missing():
    summary = copy.deepcopy(SUMMARY)
    summary["functions"] = {}
    assert unequal(summary)["functions.place-vote.invocations"] == (0, 12)


def test_a_function_only_the_summary_knows_is_invented():
    truth = copy.deepcopy(TRUTH)
    truth["functions"] = {}
    assert unequal(SUMMARY, truth)["functions.place-vote.invocations"] == (12, 0)


def test_a_status_the_server_never_gave_is_a_difference():
    summary = copy.deepcopy(SUMMARY)
    summary["client"]["endpoints"]["POST /vote"]["status"] = {"200": 9, "504": 1}
    assert unequal(summary) == {"api.by_status.502": (0, 1), "api.by_status.504": (1, 0)}


def test_a_function_that_was_never_called_is_not_compared():
    summary = copy.deepcopy(SUMMARY)
    never = {"invocations": 0, "cold_starts": 0, "errors": 0, "timeouts": 0, "throttles": None}
    summary["functions"]["get-results"] = {**never, "billed_ms": {"sum": None}}
    assert unequal(summary) == {}
