"""`junit.xml`: a run as a test suite, for the CI servers that draw test results.

One test case says whether the run and its data are whole, and one each threshold says whether it held:

```xml
<testsuites name="swarmscope" tests="2" failures="1" errors="0" skipped="0" time="60.000">
 <testsuite name="20261121T100023Z-demo" tests="2" ... timestamp="2026-11-21T10:00:23">
  <testcase classname="swarmscope.demo" name="the run is complete" time="60.000"/>
  <testcase classname="swarmscope.demo" name="POST /vote: p95_ms &lt; 40" time="0.000">
   <failure type="fail" message="measured 48.2 ms">...</failure>
```

Attributes and nesting as in the schema of Jenkins' xUnit plugin (junit-10.xsd). A document of this size needs no
library; the standard one escapes, and what XML 1.0 cannot hold is taken out before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from analysis.formatting import moment, visible
from analysis.tables import measured
from analysis.verdict import judge

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(summary: Mapping[str, Any]) -> str:
    """The whole document."""
    run = summary.get("run") or {}
    verdict = judge(summary)
    started_at, ended_at = run.get("started_at"), run.get("ended_at")
    lasted = f"{max(ended_at - started_at, 0):.3f}" if started_at and ended_at else "0.000"
    cases = [_completeness(run, lasted), *(_threshold(run, one) for one in summary.get("thresholds") or [])]
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
        "time": lasted,
    }
    suites = ElementTree.Element("testsuites", {"name": "swarmscope", **totals})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _text(run.get("id")), **totals})
    started = moment(started_at)
    if started is not None:
        suite.set("timestamp", started.strftime("%Y-%m-%dT%H:%M:%S"))
    suite.extend(cases)
    lines = [verdict.headline, verdict.detail or ""]
    if run.get("simulated"):
        lines.append("simulated: the target was not AWS")
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join(line for line in lines if line))
    ElementTree.indent(suites, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _completeness(run: Mapping[str, Any], lasted: str) -> ElementTree.Element:
    case = _case(run, "the run is complete", lasted)
    if not run.get("complete", False):
        warnings = [visible(warning) for warning in run.get("warnings") or []]
        error = ElementTree.SubElement(
            case, "error", {"type": "incomplete", "message": "the run or its data is not whole"}
        )
        error.text = _text("\n".join(warnings))
    return case


def _threshold(run: Mapping[str, Any], threshold: Mapping[str, Any]) -> ElementTree.Element:
    expression = visible(threshold.get("expression"))
    case = _case(run, expression, "0.000")
    if threshold.get("verdict") != "pass":
        message = f"measured {measured(expression, threshold.get('value'))}"
        if threshold.get("aborted"):
            message += ", which aborted the run"
        failure = ElementTree.SubElement(
            case, "failure", {"type": _text(threshold.get("verdict")), "message": _text(message)}
        )
        failure.text = _text(f"{expression}: {message}")
    return case


def _case(run: Mapping[str, Any], name: str, time: str) -> ElementTree.Element:
    profile = _text(run.get("profile") or "run")
    return ElementTree.Element("testcase", {"classname": f"swarmscope.{profile}", "name": _text(name), "time": time})


def _text(value: object) -> str:
    return _NOT_XML.sub("�", "" if value is None else str(value))
