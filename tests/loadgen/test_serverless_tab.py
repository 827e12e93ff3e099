"""The rows of the tab, from reports and polls as they come."""

from loadgen.live import LiveCounter, LiveFigures, Report
from loadgen.webui.cloudwatch import CloudWatchFigures, FunctionFigures
from loadgen.webui.serverless_tab import COLUMNS, rows


def live() -> LiveFigures:
    """What one process reported at second 1 of a run of 2 s."""
    counter = LiveCounter()
    for _ in range(8):
        counter.add(True, "vote", "POST /vote", "POST", 200, "", "", 12.0, 0.003)
    counter.add(True, "vote", "POST /vote", "POST", 429, "HTTP 429 Too Many Requests", "", 3.0, 0.003)
    counter.add(True, "direct", "place-vote", "Invoke", 200, "FunctionError Unhandled", "Unhandled", 30.0, None)
    counter.add(True, "direct", "place-vote", "Invoke", None, "connection refused", "", None, None)
    counter.add_dropped(True, "vote")
    figures = LiveFigures()
    in_flight = {"vote": 5, "direct": 2}
    figures.receive(Report("run", 0, span_s=2.0, cpu_s=0.1, in_flight=in_flight, counts=counter.take()), now=1.0)
    return figures


def shown(found: list[dict], where: str) -> dict:
    """The cells that are not empty."""
    [row] = [row for row in found if row["where"] == where]
    assert row.keys() == COLUMNS.keys()
    return {key: cell for key, cell in row.items() if cell is not None and key != "where"}


def test_a_flow_has_its_statuses_throttles_lag_and_dropped_arrivals():
    found = shown(rows(live(), 1.2, running=True, cloudwatch=None), "flow vote")
    assert found.pop("lag_p50_ms") == found.pop("lag_p99_ms")
    assert found == {
        "requests": 9,
        "per_second": 4.5,
        "statuses": "200: 8, 429: 1",
        "throttles": 1,
        "function_errors": 0,
        "in_flight": 5,
        "dropped": 1,
    }


def test_what_has_no_schedule_has_no_lag():
    assert shown(rows(live(), 1.2, running=True, cloudwatch=None), "flow direct") == {
        "requests": 2,
        "per_second": 1,
        "statuses": "200: 1, none: 1",
        "throttles": 0,
        "function_errors": 1,
        "in_flight": 2,
        "dropped": 0,
    }


def test_open_requests_are_those_of_all_flows():
    found = shown(rows(live(), 1.2, running=True, cloudwatch=None), "all flows")
    assert (found["requests"], found["in_flight"]) == (11, 7)


def test_rate_and_lag_are_recent_while_the_run_goes_and_of_all_of_it_afterwards():
    later = shown(rows(live(), 60.0, running=True, cloudwatch=None), "flow vote")
    assert (later["requests"], later["in_flight"], "per_second" in later, "lag_p99_ms" in later) == (9, 0, False, False)
    assert shown(rows(live(), 60.0, running=False, cloudwatch=None), "flow vote")["per_second"] == 4.5


def test_before_the_first_run_there_is_nothing():
    assert rows(None, 0.0, running=False, cloudwatch=None) == []


def test_functions_that_were_not_called_are_left_out():
    figures = CloudWatchFigures(
        0.0,
        {
            "place-vote": FunctionFigures(40.0, 2.0, None, 3.0, 3),
            "shop-accept": FunctionFigures(None, None, None, None, None),
        },
    )
    found = rows(None, 0.0, running=True, cloudwatch=figures)
    assert [row["where"] for row in found] == ["function place-vote", "CloudWatch"]
    assert shown(found, "function place-vote") == {
        "requests": 40,
        "function_errors": 2,
        "in_flight": 3,
        "cold_starts": 3,
    }
    assert shown(found, "CloudWatch") == {"statuses": "as of 00:00:00 UTC"}


def test_a_poll_that_failed_says_why_and_keeps_the_last_figures():
    figures = CloudWatchFigures(0.0, {"f": FunctionFigures(1.0, None, None, None, None)}, "AccessDenied")
    found = rows(None, 0.0, running=True, cloudwatch=figures)
    assert shown(found, "function f") == {"requests": 1}
    assert shown(found, "CloudWatch") == {"statuses": "no data: AccessDenied; as of 00:00:00 UTC"}
