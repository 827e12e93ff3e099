import pytest

from analysis.endpoints import client as client_of

T0 = 1795255200.0


@pytest.fixture
def client(build):
    return lambda: client_of(build.joined())


def test_counts_cover_the_run_and_rates_the_measured_rows(build, client):
    build.request(0.0, 100, phase="warmup", status=502, ok=0)
    build.request(5.0, 50)
    build.request(6.0, 1000)
    found = client()
    assert (found["requests"], found["failures"], found["error_rate"]) == (3, 1, 0.0)
    assert found["rps"] == pytest.approx(2 / 2.0)
    assert found["measured"] == {"requests": 2, "failures": 0, "dropped": 0}
    assert (found["p50_ms"], found["max_ms"]) == (525.0, 1000.0)


def test_dropped_arrivals_are_no_requests(build, client):
    build.request(1.0)
    build.request(None, None, None, error="dropped", scheduled_at=1795255202.0)
    found = client()
    assert (found["requests"], found["failures"], found["dropped"], found["dropped_rate"]) == (1, 0, 1, 0.5)


def test_unfinished_requests_are_failures_without_a_time(build, client):
    build.request(1.0, 50)
    build.request(2.0, None, None, error="unfinished")
    found = client()
    assert (found["requests"], found["failures"], found["max_ms"]) == (2, 1, 50.0)
    assert found["endpoints"]["POST /vote"]["status"] == {"200": 1, "none": 1}


def test_each_endpoint_has_its_statuses(build, client):
    build.request(status=200)
    build.request(status=502, ok=0)
    build.request(status=502, ok=0)
    build.request(status=200, name="/shop", flow="shop")
    found = client()
    assert list(found["endpoints"]) == ["POST /vote", "POST /shop"]
    assert found["endpoints"]["POST /vote"]["status"] == {"200": 1, "502": 2}
    assert {flow: block["requests"] for flow, block in found["flows"].items()} == {"vote": 3, "shop": 1}


def test_nothing_measured_is_null_and_not_zero(build, client):
    build.request(phase="warmup")
    found = client()
    assert {found[key] for key in ("rps", "p95_ms", "mean_ms", "error_rate")} == {None}


def test_no_rows_at_all(client):
    found = client()
    assert (found["requests"], found["failures"], found["endpoints"]) == (0, 0, {})
    assert (found["rps"], found["p99_ms"]) == (None, None)


def test_every_request_failed(build, client):
    for _ in range(3):
        build.request(1.0, None, None, error="ConnectionRefusedError")
    found = client()
    assert (found["requests"], found["failures"], found["error_rate"], found["p50_ms"]) == (3, 3, 1.0, None)


def test_offered_is_what_was_sent_and_what_was_dropped(build, client):
    build.request(1.0)
    build.request(None, None, None, error="dropped", scheduled_at=T0 + 1.5, name=None, method=None)
    found = client()
    assert (found["offered"], found["requests"], found["dropped"]) == (2, 1, 1)
    assert found["flows"]["vote"]["offered"] == 2
    assert found["endpoints"]["POST /vote"]["offered"] == 1, "which endpoint it would have been is not known"


def test_latency_from_schedule_holds_the_wait_before_the_request(build, client):
    build.request(2.0, 100, scheduled_at=T0 + 1.5)
    build.request(3.0, 100, scheduled_at=T0 + 3.0)
    found = client()["endpoints"]["POST /vote"]
    assert (found["p50_ms"], found["max_ms"]) == (100, 100)
    assert (found["from_schedule"]["p50_ms"], found["from_schedule"]["max_ms"]) == (350, 600)
    assert (found["schedule_lag_ms"]["p50"], found["schedule_lag_ms"]["max"]) == (250, 500)


def test_what_was_never_due_has_no_latency_from_schedule(build, client):
    build.request(2.0, 100)
    found = client()
    assert set(found["from_schedule"].values()) == {None} == set(found["schedule_lag_ms"].values())


def test_a_clock_that_was_never_set_counts_and_does_not_slow_the_rate(build, client):
    """Two machines of the same load, of which one begins in 1970."""
    for second in range(5):
        build.request(second, 1000, worker=0)
        build.request(second - T0, 1000, worker=1)
    found = client()
    assert (found["requests"], found["rps"]) == (10, pytest.approx(10 / 5.0))
