"""CloudWatch embedded metric format: log lines of functions that are metrics.

    {"_aws": {"Timestamp": 1795255200000, "CloudWatchMetrics": [{"Namespace": "Shop", "Dimensions": [["kind"]],
     "Metrics": [{"Name": "Sales", "Unit": "Count"}]}]}, "kind": "cash", "Sales": 2}

A line is a metric only if it is a JSON object from end to end. As on AWS, what breaks the form is passed over and stays
a log line. Source:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from sandbox.sinks import Dimensions

MARK = '"_aws"'
"""What every such line holds: cheap to look for."""


def metric_values(line: str) -> Iterator[tuple[str, str, Dimensions, float, float]]:
    """(namespace, name, dimensions, epoch seconds, value) of each value in a line; nothing for an ordinary one."""
    try:
        document = orjson.loads(line)
        at = document["_aws"]["Timestamp"] / 1000
        directives = document["_aws"]["CloudWatchMetrics"]
        found = [value for directive in directives for value in _of_directive(document, directive)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    for namespace, name, dimensions, value in found:
        yield namespace, name, dimensions, at, value


def _of_directive(document: dict[str, Any], directive: dict[str, Any]) -> Iterator[tuple[str, str, Dimensions, float]]:
    for dimension_set in directive["Dimensions"]:
        dimensions = tuple(sorted((name, str(document[name])) for name in dimension_set))
        for metric in directive["Metrics"]:
            name = metric["Name"]
            values = document[name]
            for value in values if isinstance(values, list) else [values]:
                yield directive["Namespace"], name, dimensions, float(value)
