"""Exact text, tab by tab. The forms are those of AWS's documentation (lambda-runtime-environment, python-logging) and
of real logs."""

from sandbox import log_lines

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"


def test_start_and_end():
    assert log_lines.start(ID, "$LATEST") == f"START RequestId: {ID} Version: $LATEST\n"
    assert log_lines.end(ID) == f"END RequestId: {ID}\n"


def test_report_of_a_warm_start():
    assert log_lines.report(ID, 15.74, 16, 128, 56) == (
        f"REPORT RequestId: {ID}\tDuration: 15.74 ms\tBilled Duration: 16 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 56 MB\t\n"
    )


def test_report_of_a_cold_start_with_two_decimals():
    assert log_lines.report(ID, 100.0, 257, 128, 75, init_ms=156.08) == (
        f"REPORT RequestId: {ID}\tDuration: 100.00 ms\tBilled Duration: 257 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 75 MB\tInit Duration: 156.08 ms\t\n"
    )


def test_report_of_a_traced_invocation_goes_on_in_a_second_line():
    line = log_lines.report(ID, 1.0, 1, 128, 70, xray=("1-5e34a614-10bdxmplf1fb44f07bc535a1", "07f5xmpl2d1f6f85", True))
    assert line.endswith(
        "Max Memory Used: 70 MB\t\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\tSegmentId: 07f5xmpl2d1f6f85\t"
        "Sampled: true\t\n"
    )


def test_report_of_a_timeout():
    line = log_lines.report(ID, 3000.0, 3000, 128, 86, status="timeout")
    assert line.endswith("\tMax Memory Used: 86 MB\tStatus: timeout\n")


def test_report_of_a_crash_in_a_new_environment():
    line = log_lines.report(ID, 1.0, 81, 128, 86, init_ms=80.0, status="error", error_type="Runtime.ExitError")
    assert line.endswith("\tInit Duration: 80.00 ms\tStatus: error\tError Type: Runtime.ExitError\n")


def test_restore_lines_and_the_report_of_a_restored_environment():
    assert log_lines.restore_start("java:11.v20", "us-east-1", "b8") == (
        "RESTORE_START Runtime Version: java:11.v20\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:b8\n"
    )
    assert log_lines.restore_report(398.97) == "RESTORE_REPORT Restore Duration: 398.97 ms\n"
    line = log_lines.report(ID, 2338.66, 2521, 3009, 173, restore_ms=398.97, billed_restore_ms=182)
    assert line.endswith("\tMax Memory Used: 173 MB\tRestore Duration: 398.97 ms\tBilled Restore Duration: 182 ms\t\n")


def test_init_start():
    assert log_lines.init_start("python:3.12.v18", "eu-west-1", "ab12") == (
        "INIT_START Runtime Version: python:3.12.v18\tRuntime Version ARN: arn:aws:lambda:eu-west-1::runtime:ab12\n"
    )


def test_init_report():
    assert log_lines.init_report(1236.04, "init", "timeout", None) == (
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"
    )
    assert log_lines.init_report(0.27, "invoke", "error", "Runtime.ImportModuleError") == (
        "INIT_REPORT Init Duration: 0.27 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    )


def test_the_old_style_of_a_timeout():
    assert log_lines.timed_out(1709572958.033, ID, 3.0) == (
        f"2024-03-04T17:22:38.033Z {ID} Task timed out after 3.00 seconds\n\n"
    )


def test_the_old_style_of_a_crash():
    assert log_lines.exited(ID, "Runtime exited without providing a reason") == (
        f"RequestId: {ID} Error: Runtime exited without providing a reason\nRuntime.ExitError\n"
    )


def test_an_uncaught_exception_is_indented_with_no_break_spaces_and_names_no_request():
    trace = ['  File "/var/task/handler.py", line 31, in place_vote\n    put(record)\n']
    assert log_lines.python_error("ValueError", "no", trace) == (
        "[ERROR] ValueError: no\nTraceback (most recent call last):\n"
        '\u00a0\u00a0File "/var/task/handler.py", line 31, in place_vote\n'
        "\u00a0\u00a0\u00a0\u00a0put(record)"
    )


def test_an_exception_without_a_message_has_no_colon():
    assert log_lines.python_error("KeyError", "", ()).startswith("[ERROR] KeyError\n")


def test_a_line_of_pythons_logging():
    assert log_lines.python_logging("INFO", 1709572958.033, ID, "hello") == (
        f"[INFO]\t2024-03-04T17:22:38.033Z\t{ID}\thello\n"
    )


def test_a_log_stream_carries_date_version_and_instance():
    assert log_lines.log_stream(1709572958.0, "7", "0" * 32) == f"2024/03/04/[7]{'0' * 32}"


def test_milliseconds_round_up_into_the_next_second():
    assert log_lines.iso_millis(0.9996) == "1970-01-01T00:00:01.000Z"
