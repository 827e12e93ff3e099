import pytest

from analysis.breakdown import breakdown


def means(build, endpoint):
    return {part: figures["mean"] for part, figures in breakdown(build.joined())[endpoint].items()}


def test_the_parts_of_a_request_through_the_gateway_add_up_to_it(build):
    build.request(1.0, 500.0, request_id="g1", lambda_request_id="l1")
    build.access(request_id="g1", integration_latency_ms=470.0, response_latency_ms=480.0)
    build.invocation(1.4, 30.0, request_id="l1", init_ms=400.0)
    parts = means(build, "POST /vote")
    assert parts == {
        "client_network_ms": 20.0,
        "gateway_ms": 10.0,
        "service_ms": 40.0,
        "init_ms": 400.0,
        "handler_ms": 30.0,
    }
    assert sum(parts.values()) == 500.0


def test_a_direct_invoke_passes_no_gateway(build):
    build.request(1.0, 50.0, method="Invoke", name="place-vote", request_id="l1")
    build.invocation(1.04, 30.0, request_id="l1")
    parts = means(build, "Invoke place-vote")
    assert (parts["client_network_ms"], parts["gateway_ms"], parts["handler_ms"]) == (20.0, None, 30.0)


def test_of_an_api_without_an_access_log_all_but_init_and_handler_is_client_and_network(build):
    build.request(1.0, 500.0, lambda_request_id="l1")
    build.invocation(1.4, 30.0, request_id="l1", init_ms=400.0)
    parts = means(build, "POST /vote")
    assert (parts["client_network_ms"], parts["gateway_ms"], parts["service_ms"]) == (70.0, None, None)
    assert sum(ms for ms in parts.values() if ms is not None) == 500.0


def test_what_an_api_answered_before_its_function_had_run_was_no_wait_for_it(build):
    build.request(1.0, 20.0, lambda_request_id="l1")
    build.invocation(1.5, 30.0, request_id="l1")
    assert means(build, "POST /vote")["client_network_ms"] is None


def test_an_asynchronous_invoke_was_answered_before_its_function_ran(build):
    build.request(1.0, 5.0, method="Invoke", name="place-vote", request_id="l1", status=202)
    build.invocation(1.04, 30.0, request_id="l1")
    parts = means(build, "Invoke place-vote")
    assert (parts["client_network_ms"], parts["handler_ms"]) == (None, 30.0)


def test_a_warm_start_spent_nothing_in_init(build):
    for number, init_ms in enumerate((100.0, None)):
        build.request(1.0 + number, lambda_request_id=f"l{number}")
        build.invocation(1.0 + number, request_id=f"l{number}", init_ms=init_ms)
    assert means(build, "POST /vote")["init_ms"] == 50.0


@pytest.mark.parametrize("columns", [{"phase": "warmup"}, {}])
def test_what_was_not_measured_has_no_parts(build, columns):
    build.request(**columns)
    parts = breakdown(build.joined()).get("POST /vote", {})
    assert {part["mean"] for part in parts.values()} <= {None}


@pytest.mark.parametrize(("integration_latency_ms", "waited_ms"), [(33.0, 3.0), (29.0, 0.0), (429.0, 400.0)])
def test_an_init_that_the_answer_leaves_no_room_for_ran_ahead(build, integration_latency_ms, waited_ms):
    build.request(1.0, 500.0, request_id="g1", lambda_request_id="l1")
    build.access(request_id="g1", integration_latency_ms=integration_latency_ms, response_latency_ms=480.0, status=200)
    build.invocation(1.4, 30.0, request_id="l1", init_ms=400.0)
    parts = means(build, "POST /vote")
    assert (parts["init_ms"], parts["handler_ms"]) == (waited_ms, 30.0)
    assert sum(parts.values()) == 500.0


def test_a_direct_invoke_that_was_answered_before_an_init_could_be_over_did_not_wait_for_it(build):
    build.request(1.0, 50.0, method="Invoke", name="place-vote", request_id="l1")
    build.invocation(1.04, 30.0, request_id="l1", init_ms=400.0)
    parts = means(build, "Invoke place-vote")
    assert (parts["client_network_ms"], parts["init_ms"], parts["handler_ms"]) == (0.0, 20.0, 30.0)


def test_what_was_refused_has_no_part_in_where_the_time_went(build):
    build.request(1.0, 50.0, request_id="g1", lambda_request_id="l1")
    build.access(request_id="g1", integration_latency_ms=40.0, response_latency_ms=45.0)
    build.invocation(1.0, 30.0, request_id="l1")
    build.request(2.0, 5.0, 429, request_id="g2")
    build.access(request_id="g2", status=429, response_latency_ms=1.0)
    assert sum(means(build, "POST /vote").values()) == 50.0


def test_what_got_no_answer_has_no_part_in_where_the_time_went(build):
    build.request(1.0, 50.0, request_id="g1", lambda_request_id="l1")
    build.access(request_id="g1", integration_latency_ms=40.0, response_latency_ms=45.0)
    build.invocation(1.0, 30.0, request_id="l1")
    build.request(2.0, None, None, request_id="g2")
    build.access(request_id="g2", lambda_request_id="l2", integration_latency_ms=900.0, response_latency_ms=905.0)
    build.invocation(2.0, 890.0, request_id="l2")
    assert sum(means(build, "POST /vote").values()) == 50.0


def test_what_ran_on_after_the_gateway_gave_up_was_nobodys_wait(build):
    build.request(1.0, 29_020.0, 504, request_id="g1")
    times = {"integration_latency_ms": 29_000.0, "response_latency_ms": 29_010.0}
    build.access(request_id="g1", lambda_request_id="l1", status=504, **times)
    build.invocation(35.0, 33_000.0, request_id="l1", init_ms=400.0)
    parts = means(build, "POST /vote")
    assert (parts["init_ms"], parts["handler_ms"], parts["service_ms"]) == (400.0, 28_600.0, 0.0)
    assert sum(parts.values()) == 29_020.0
