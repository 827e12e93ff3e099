from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from analysis import junit


def suite(summary: dict[str, Any]) -> ElementTree.Element:
    root = ElementTree.fromstring(junit.render(summary).encode())
    (found,) = root.findall("testsuite")
    return found


def test_an_incomplete_run_is_an_error_with_its_warnings() -> None:
    found = suite({"run": {"id": "r", "complete": False, "warnings": ["worker 1 lost"]}})
    assert (found.get("tests"), found.get("errors")) == ("1", "1")
    assert found.findtext("testcase/error") == "worker 1 lost"


def test_a_threshold_without_data_is_a_failure() -> None:
    found = suite(
        {"run": {"complete": True}, "thresholds": [{"expression": "rps > 1", "value": None, "verdict": "no data"}]}
    )
    failure = found.find("testcase/failure")
    assert failure is not None
    assert (found.get("failures"), failure.get("type"), failure.get("message")) == ("1", "no data", "measured no data")


def test_a_run_that_passed_has_no_failures() -> None:
    found = suite({"run": {"complete": True}, "thresholds": [{"expression": "rps > 1", "value": 2, "verdict": "pass"}]})
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("2", "0", "0")


def test_what_xml_cannot_hold_does_not_break_the_file() -> None:
    found = suite({"run": {"id": "a\x00b\x1b[1m\ud800<&>\"'", "complete": True}})
    assert found.get("name") == "a�b�[1m�<&>\"'"


def test_the_threshold_that_aborted_the_run_says_so() -> None:
    threshold = {"expression": "error_rate < 5%", "value": 0.25, "verdict": "fail", "aborted": True}
    aborted = {"threshold": "error_rate < 5%", "value": 0.25, "at": 1795255270.0}
    found = suite({"run": {"complete": True, "aborted": aborted}, "thresholds": [threshold]})
    failure = found.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "measured 25.00 %, which aborted the run"
    assert "aborted by error_rate < 5% at 10:01:10.000 UTC" in str(found.findtext("system-out"))
