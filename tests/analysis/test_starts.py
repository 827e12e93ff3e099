"""What kind of start an invocation began with."""

import pytest

from analysis.starts import starts_told


@pytest.fixture
def classes(build):
    """Request id -> class of those that began with a start; `suppressed` of those that hide an init."""

    def run(**known):
        found = build.joined(**known).execute(
            """SELECT request_id, concat_ws(', ', class, CASE WHEN suppressed THEN 'suppressed' END)
               FROM starts JOIN invocations USING (inv)"""
        )
        return dict(found.fetchall())

    return run


def begun(build, at, kind="init_start", **columns):
    build.init(at, kind=kind, **columns)


def test_a_cold_start_follows_its_init_at_once(build, classes):
    begun(build, 1.0)
    build.invocation(1.32, 20.0, request_id="first", init_ms=298.0)
    build.invocation(2.0, 20.0, request_id="second")
    assert classes() == {"first": "cold"}


def test_an_environment_made_long_before_its_first_request_is_proactive(build, classes):
    begun(build, 1.0)
    build.invocation(31.32, 20.0, request_id="first", init_ms=298.0)
    assert classes() == {"first": "proactive"}


def test_an_environment_whose_init_lies_before_the_logs_is_proactive(build, classes):
    build.invocation(31.32, 20.0, request_id="first", init_ms=298.0)
    begun(build, 40.0, log_stream="b")
    build.invocation(40.32, 20.0, request_id="other", log_stream="b", init_ms=298.0)
    assert classes(logs_from=29.0) == {"first": "proactive", "other": "cold"}


def test_an_init_that_may_just_have_been_over_when_the_logs_begin_is_cold(build, classes):
    build.invocation(31.32, 20.0, request_id="first", init_ms=298.0)
    begun(build, 40.0, log_stream="b")
    assert classes(logs_from=30.1) == {"first": "cold"}


def test_of_a_function_whose_logs_tell_no_init_an_absent_one_says_nothing(build, classes):
    build.invocation(31.32, 20.0, request_id="first", init_ms=298.0)
    begun(build, 40.0, function="other")
    assert classes(logs_from=1.0) == {"first": "cold"}


@pytest.mark.parametrize(
    ("version", "initialization_type", "expected"),
    [
        ("$LATEST", None, "proactive"),
        ("7", None, "provisioned"),
        ("7", "on-demand", "proactive"),
        ("7", "provisioned-concurrency", "provisioned"),
    ],
)
def test_a_new_stream_whose_first_report_has_no_init(build, classes, version, initialization_type, expected):
    begun(build, 1.0, initialization_type=initialization_type)
    build.invocation(31.0, request_id="first", version=version)
    assert classes() == {"first": expected}


def test_a_restore_is_a_snapstart(build, classes):
    build.invocation(1.0, request_id="first", restore_ms=300.0)
    assert classes() == {"first": "snapstart"}


def test_a_stream_that_began_before_the_run_says_nothing(build, classes):
    build.invocation(1.0, request_id="first")
    assert classes() == {}


def test_an_init_broken_off_is_repeated_in_the_first_invocation(build, classes):
    begun(build, 1.0)
    begun(build, 11.0, kind="init_report", phase="init", status="timeout", init_ms=10_000.0)
    build.invocation(23.0, 12_000.0, request_id="first")
    build.invocation(24.0, request_id="second")
    assert classes() == {"first": "suppressed"}


def test_after_a_timeout_and_after_a_crash_init_is_repeated(build, classes):
    build.invocation(4.0, 3000.0, request_id="late", status="timeout")
    build.invocation(5.0, request_id="after-timeout")
    build.invocation(6.0, request_id="crashed", status="error", error_type="Runtime.ExitError")
    build.invocation(7.0, request_id="after-crash")
    build.invocation(8.0, request_id="unwritable", status="error", error_type="Runtime.MarshalError")
    build.invocation(9.0, request_id="after-that")
    assert classes() == {"after-timeout": "suppressed", "after-crash": "suppressed"}


def test_an_init_that_fails_within_an_invocation_is_told_by_its_own_line(build, classes):
    build.invocation(1.0, request_id="before")
    begun(build, 2.0, kind="init_report", phase="invoke", status="error", init_ms=300.0)
    build.invocation(2.0, request_id="failed")
    build.invocation(3.0, request_id="after")
    assert classes() == {"failed": "suppressed", "after": "suppressed"}


def test_a_cold_start_may_hide_a_second_init_that_failed(build, classes):
    begun(build, 1.0)
    begun(build, 1.6, kind="init_report", phase="invoke", status="error", init_ms=300.0)
    build.invocation(1.6, 300.0, request_id="first", init_ms=300.0, status="error", error_type="Runtime.ExitError")
    assert classes() == {"first": "cold, suppressed"}


@pytest.mark.parametrize(
    ("target", "columns", "told"),
    [
        ("aws", {}, True),
        ("sandbox", {}, True),
        ("emulator", {}, False),
        ("emulator", {"init_ms": 300.0}, True),
    ],
)
def test_an_emulator_without_any_init_tells_nothing_of_starts(build, target, columns, told):
    build.invocation(1.0, **columns)
    assert starts_told(build.joined(), target) is told


def test_without_invocations_there_was_no_cold_start_anywhere(build):
    assert starts_told(build.joined(), "emulator")
