import numpy as np
import pytest

from analysis.functions import Limits, create_measured_invocations
from analysis.functions import functions as functions_of
from analysis.pipeline import explain


@pytest.fixture
def functions(build):
    """-> the blocks of what was built; `place-vote` is known by name."""

    def run(metrics=None):
        db = build.joined()
        create_measured_invocations(db)
        return functions_of(db, ["place-vote"], metrics or {}, Limits())

    return run


def test_durations_interpolate_linearly_between_the_raw_rows(build, functions):
    durations = [10.0, 11.0, 15.0, 40.0, 41.5, 90.0, 300.0]
    for at, ms in enumerate(durations):
        build.invocation(at, ms, request_id=f"l{at}")
    found = functions()["place-vote"]["duration_ms"]
    for percent in (50, 90, 95, 99):
        assert found[f"p{percent}"] == pytest.approx(np.percentile(durations, percent), abs=0.0006)
    assert (found["min"], found["max"], found["sum"]) == (10.0, 300.0, 507.5)


def test_one_row_is_its_own_percentile(build, functions):
    build.invocation(ms=21.5)
    found = functions()["place-vote"]["duration_ms"]
    assert set(found.values()) == {21.5}


def test_a_cold_start_has_an_init_or_a_restore(build, functions):
    build.invocation(1.0, init_ms=250.0)
    build.invocation(2.0, restore_ms=90.0, version="3")
    build.invocation(3.0)
    found = functions()["place-vote"]
    assert found["cold_starts"] == 2
    assert found["starts"] == {"cold": 1, "proactive": None, "provisioned": None, "snapstart": 1}


def test_a_repeated_init_tells_nothing_of_how_environments_began(build, functions):
    build.init(1.0, kind="init_report", phase="invoke", status="error")
    build.invocation(1.0, status="error")
    assert functions()["place-vote"]["starts"]["proactive"] is None


def test_without_a_published_version_nothing_was_provisioned(build, functions):
    build.invocation()
    assert functions()["place-vote"]["starts"]["provisioned"] == 0


@pytest.mark.parametrize(
    ("columns", "counts"),
    [
        ({"status": "timeout"}, (1, 1)),
        ({"status": "error", "error_type": "Runtime.ExitError"}, (1, 0)),
        ({"status": "success"}, (0, 0)),
        ({}, (0, 0)),
    ],
)
def test_the_new_style_tells_failures_in_the_report(build, functions, columns, counts):
    build.invocation(**columns)
    found = functions()["place-vote"]
    assert (found["errors"], found["timeouts"]) == counts


def test_the_old_style_tells_failures_in_lines_of_their_own(build, functions):
    build.invocation(1.0, request_id="l1")
    build.error(1.0, kind="timeout", request_id="l1", error_type=None)
    build.invocation(2.0, request_id="l2")
    build.error(2.0, kind="runtime", request_id="l2", error_type="Runtime.ExitError")
    build.invocation(3.0, request_id="l3")
    build.error(2.999)
    found = functions()["place-vote"]
    assert (found["errors"], found["timeouts"]) == (3, 1)


def test_two_lines_about_one_failure_are_one_error(build, functions):
    build.invocation(1.0, request_id="l1", status="error", error_type="Runtime.ExitError")
    build.error(0.9)
    build.error(1.0, kind="runtime", request_id="l1", error_type="Runtime.ExitError")
    assert functions()["place-vote"]["errors"] == 1


def test_a_line_with_an_id_that_comes_after_its_report_still_counts(build, functions):
    """Old-style `Task timed out` lines were written after REPORT."""
    build.invocation(1.0, request_id="l1")
    build.invocation(2.0, request_id="l2")
    build.error(1.001, kind="timeout", request_id="l1")
    found = functions()["place-vote"]
    assert (found["errors"], found["timeouts"]) == (1, 1)


def test_each_failed_attempt_of_an_event_is_an_error(build, functions):
    for at in (1.0, 5.0, 9.0):
        build.invocation(at, request_id="l1")
    build.error(1.0, request_id="l1")
    build.error(4.9, request_id="l1")
    found = functions()["place-vote"]
    assert (found["invocations"], found["errors"]) == (3, 2)


def test_an_error_line_whose_report_is_missing_is_named(build):
    build.invocation(1.0)
    build.error(5.0)
    warnings = explain(build.write())["run"]["warnings"]
    assert "1 error line of invocations that left no REPORT line: counted nowhere" in warnings


def test_warm_up_counts_but_does_not_shape_percentiles(build, functions):
    build.request(1.0, lambda_request_id="l1", phase="warmup")
    build.invocation(1.05, 900, request_id="l1", init_ms=250.0)
    build.request(5.0, lambda_request_id="l2")
    build.invocation(5.05, 20, request_id="l2")
    found = functions()["place-vote"]
    assert (found["invocations"], found["cold_starts"]) == (2, 1)
    assert found["measured"] == {"invocations": 1, "errors": 0, "timeouts": 0, "cold_starts": 0}
    assert (found["duration_ms"]["max"], found["duration_ms"]["sum"]) == (20.0, 920.0)
    assert found["cold_start_rate"] == 0


def test_a_later_hop_belongs_to_the_phase_of_its_request(build, functions):
    build.request(1.0, correlation_id="c1", phase="warmup")
    build.request(2.0, correlation_id="c2")
    for number, at in ((1, 3.0), (2, 4.0)):
        build.invocation(at, function="shop-decrypt", request_id=f"l{number}")
        build.correlation(at, function="shop-decrypt", request_id=f"l{number}", correlation_id=f"c{number}")
    assert functions()["shop-decrypt"]["measured"]["invocations"] == 1


def test_background_belongs_to_warm_up_until_the_first_measured_request(build, functions):
    build.request(1.0, phase="warmup")
    build.request(5.0)
    build.invocation(3.0, function="tally-votes")
    build.invocation(6.0, function="tally-votes")
    assert functions()["tally-votes"]["measured"]["invocations"] == 1


def test_background_of_a_run_that_ended_in_its_warm_up_belongs_to_it(build, functions):
    build.request(1.0, phase="warmup")
    build.invocation(3.0, function="tally-votes")
    assert functions()["tally-votes"]["measured"]["invocations"] == 0


def test_limits_are_those_of_the_statistics(build, functions):
    """Under is smaller; memory is under its limit where less than the headroom is left."""
    for at, ms in enumerate((499.99, 500.0, 700.0)):
        build.invocation(at, ms, memory_mb=128, max_memory_mb=(100, 101, 72)[at])
    found = functions()["place-vote"]
    assert (found["under_limit_duration"], found["over_limit_duration"]) == (1, 2)
    assert (found["under_limit_memory"], found["over_limit_memory"]) == (1, 2)


def test_throttles_come_from_metrics_only(build, functions):
    build.invocation()
    assert functions()["place-vote"]["throttles"] is None
    found = functions({"place-vote": {"Throttles": 3.0}})["place-vote"]
    assert (found["throttles"], found["throttle_rate"]) == (3, 0.75)


def test_a_function_whose_log_is_empty_was_invoked_no_times_and_has_no_duration(functions):
    found = functions()["place-vote"]
    assert (found["invocations"], found["errors"], found["cold_starts"]) == (0, 0, 0)
    assert (found["duration_ms"]["p95"], found["billed_ms"]["sum"], found["first_at"]) == (None, None, None)


def test_without_a_pull_nothing_is_said_about_functions(build):
    build.pull = None
    assert explain(build.write())["functions"] == {}


def test_configured_memory_is_that_of_the_last_invocation(build, functions):
    build.invocation(2.0, memory_mb=512)
    build.invocation(1.0, memory_mb=128)
    assert functions()["place-vote"]["memory_mb"]["configured"] == 512


def test_times_are_those_of_the_report_lines(build, functions):
    build.invocation(1.25)
    build.invocation(7.5)
    found = functions()["place-vote"]
    assert (found["first_at"], found["last_at"]) == ("2026-11-21T10:00:01.250Z", "2026-11-21T10:00:07.500Z")


def test_what_no_report_tells_is_not_known(build):
    build.manifest["target"] = "emulator"
    build.manifest["profile"]["thresholds"] = {"place-vote: cold_start_rate < 1%": "fail"}
    build.request(lambda_request_id="l1")
    build.invocation(request_id="l1", max_memory_mb=None)
    summary = explain(build.write())
    found = summary["functions"]["place-vote"]
    assert (found["cold_starts"], found["cold_start_rate"], set(found["starts"].values())) == (None, None, {None})
    assert found["memory_mb"] == {"configured": 256, "min": None, "mean": None, "max": None}
    assert summary["thresholds"][0]["verdict"] == "no data"
    assert summary["run"]["complete"]
    assert summary["run"]["warnings"] == [
        "the logs tell nothing of how environments began: cold starts are not known",
        "no REPORT line tells how much memory was used",
    ]
