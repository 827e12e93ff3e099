from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

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
    assert (found.get("failures"), failure.get("type")) == ("1", "no data")
    assert failure.get("message") == "nothing was measured for it"


INCOMPLETE = {"run": {"id": "r", "complete": False, "warnings": ["worker 1 lost"]}}
VERDICTS = [
    {"expression": "rps > 1", "value": 2, "verdict": "pass"},
    {"expression": "p95_ms < 1", "value": 2, "verdict": "fail"},
    {"expression": "shop: lost == 0", "value": None, "verdict": "no data"},
]


def test_what_holds_or_lacks_data_in_half_a_run_is_skipped_and_what_is_broken_fails() -> None:
    found = suite({**INCOMPLETE, "thresholds": VERDICTS})
    outcomes = [[outcome.tag for outcome in case] for case in found.findall("testcase")]
    assert outcomes == [["error"], ["skipped"], ["failure"], ["skipped"]]
    assert [found.get(name) for name in ("tests", "errors", "failures", "skipped")] == ["4", "1", "1", "2"]


def test_a_search_without_a_result_is_an_error_though_the_run_is_whole() -> None:
    found = suite({"run": {"complete": True}, "breakpoint": {"void": True, "reason": "CPU"}})
    assert "at its limit" in str(found.find("testcase/error").get("message"))  # type: ignore[union-attr]


@pytest.mark.parametrize("run", [{}, {"id": "r", "complete": True, "profile": "p", "started_at": 5.0, "ended_at": 3.0}])
def test_it_has_what_both_schemas_in_use_want(run: dict[str, Any]) -> None:
    """Of Ant's (https://github.com/windyroad/JUnit-Schema), what Jenkins' does not ask for: attributes, their types,
    the order of elements, one outcome a case, and nothing at the root."""
    root = ElementTree.fromstring(junit.render({"run": run, "thresholds": VERDICTS}).encode())
    (found,) = root.findall("testsuite")
    assert root.attrib == {}
    assert [one.tag for one in found] == ["properties", *["testcase"] * 4, "system-out", "system-err"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", str(found.get("timestamp")))
    for name in ("tests", "failures", "errors", "skipped", "id"):
        int(str(found.get(name)))
    assert all(found.get(name) for name in ("name", "hostname", "package"))
    assert float(str(found.get("time"))) >= 0
    for case in found.findall("testcase"):
        assert sorted(case.attrib) == ["classname", "name", "time"]
        assert len(case) <= 1
        assert all((outcome.tag == "skipped") != ("type" in outcome.attrib) for outcome in case)


def test_a_run_that_passed_has_no_failures() -> None:
    found = suite({"run": {"complete": True}, "thresholds": [{"expression": "rps > 1", "value": 2, "verdict": "pass"}]})
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("2", "0", "0")


def test_what_xml_cannot_hold_does_not_break_the_file() -> None:
    found = suite({"run": {"id": "a\x00b\x1b[1m\ud800<&>\"'", "complete": True}})
    assert found.get("name") == "a b [1m <&>\"'"


def test_the_threshold_that_aborted_the_run_says_so() -> None:
    threshold = {"expression": "error_rate < 5%", "value": 0.25, "verdict": "fail", "aborted": True}
    aborted = {"threshold": "error_rate < 5%", "value": 0.25, "at": 1795255270.0}
    found = suite({"run": {"complete": True, "aborted": aborted}, "thresholds": [threshold]})
    failure = found.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "measured 25.00 %, which aborted the run"
    assert "aborted by error_rate < 5% at 10:01:10.000 UTC" in str(found.findtext("system-out"))
