"""`junit.xml`: a run as a test suite, for the CI servers that draw test results.

One test case says whether the run and its data are whole, and one each threshold says whether it held:

```xml
<testsuites>
 <testsuite name="20261121T100023Z-demo" tests="2" failures="1" errors="0" ... timestamp="2026-11-21T10:00:23">
  <testcase classname="swarmscope.demo" name="the run is complete" time="60.000"/>
  <testcase classname="swarmscope.demo" name="POST /vote: p95_ms &lt; 40" time="0.000">
   <failure type="fail" message="measured 48.2 ms">...</failure>
```

A threshold that is broken, or without data, is a failure. A run that is not whole is an error, and thresholds that
hold on what there is of it are skipped: they hold nothing.

There is no standard. Attributes and nesting are those that both schemas in use allow: that of Jenkins' xUnit plugin
(junit-10.xsd), and the older and stricter one of Ant's JUnit task, which wants properties, a host name and both
outputs, and no attributes at `testsuites` (https://github.com/windyroad/JUnit-Schema). A document of this size needs no
library: the standard one escapes, and `visible` leaves nothing that XML 1.0 cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from analysis.formatting import moment, visible
from analysis.tables import measured_in_words
from analysis.verdict import Verdict, judge

_PROPERTIES = ("profile", "target", "simulated", "region")
NO_TIME = "1970-01-01T00:00:00"
"""The stamp of a run that does not know when it began: Ant's schema wants one."""
MAX_WARNINGS = 100


def render(summary: Mapping[str, Any]) -> str:
    """The whole document."""
    run = summary.get("run") or {}
    verdict = judge(summary)
    started_at, ended_at = run.get("started_at"), run.get("ended_at")
    lasted = f"{max(ended_at - started_at, 0):.3f}" if started_at and ended_at else "0.000"
    whole = verdict.kind != "incomplete"
    cases = [
        _completeness(run, verdict, lasted),
        *(_threshold(run, one, whole) for one in summary.get("thresholds") or []),
    ]
    started = moment(started_at)
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        {
            "name": visible(run.get("id") or "run"),
            "id": "0",
            "package": "swarmscope",
            "hostname": "localhost",  # what Ant's schema wants where there is no one host
            "timestamp": started.strftime("%Y-%m-%dT%H:%M:%S") if started else NO_TIME,
            "tests": str(len(cases)),
            "failures": _with(cases, "failure"),
            "errors": _with(cases, "error"),
            "skipped": _with(cases, "skipped"),
            "time": lasted,
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name in _PROPERTIES:
        if run.get(name) is not None:
            ElementTree.SubElement(properties, "property", {"name": name, "value": visible(run[name])})
    suite.extend(cases)
    lines = [verdict.headline, verdict.detail or ""]
    if run.get("simulated"):
        lines.append("simulated: the target was not AWS")
    ElementTree.SubElement(suite, "system-out").text = "\n".join(line for line in lines if line)
    ElementTree.SubElement(suite, "system-err").text = "\n".join(_warnings(run))
    ElementTree.indent(suites, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _completeness(run: Mapping[str, Any], verdict: Verdict, lasted: str) -> ElementTree.Element:
    case = _case(run, "the run is complete", lasted)
    if verdict.kind == "incomplete":
        error = ElementTree.SubElement(case, "error", {"type": "incomplete", "message": verdict.headline})
        error.text = "\n".join(_warnings(run))
    return case


def _threshold(run: Mapping[str, Any], threshold: Mapping[str, Any], whole: bool) -> ElementTree.Element:
    expression = visible(threshold.get("expression"))
    case = _case(run, expression, "0.000")
    verdict = threshold.get("verdict")
    message = measured_in_words(threshold)
    if not whole and verdict != "fail":
        message += " in a run that is not whole"
        ElementTree.SubElement(case, "skipped", {"message": message})
    elif verdict != "pass":
        failure = ElementTree.SubElement(case, "failure", {"type": visible(verdict), "message": message})
        failure.text = f"{expression}: {message}"
    return case


def _case(run: Mapping[str, Any], name: str, time: str) -> ElementTree.Element:
    profile = visible(run.get("profile") or "run")
    return ElementTree.Element("testcase", {"classname": f"swarmscope.{profile}", "name": name, "time": time})


def _with(cases: list[ElementTree.Element], outcome: str) -> str:
    return str(sum(case.find(outcome) is not None for case in cases))


def _warnings(run: Mapping[str, Any]) -> list[str]:
    warnings = [visible(warning) for warning in (run.get("warnings") or [])[:MAX_WARNINGS]]
    more = len(run.get("warnings") or []) - len(warnings)
    return [*warnings, f"… and {more} more in summary.json"] if more else warnings
