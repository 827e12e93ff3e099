"""The tables of a run, as text: what stands in them is decided here once, how they look is the renderers' business.

Each function takes `summary.json`'s dictionary and gives one Table, with no rows where the summary has nothing to say.
Columns marked `wide` need more room than a terminal of 100 columns has; only the HTML report shows them.
"""

from analysis.tables.about_the_run import clocks_in_words, join, join_in_words, manifest, pull, workers
from analysis.tables.client_side import (
    PARTS,
    breakdown,
    endpoints,
    latency,
    mean_parts,
    mean_request,
    schedule,
    statuses,
)
from analysis.tables.cloudwatch import custom_metrics, metrics, metrics_in_words, metrics_out_of_limits
from analysis.tables.compared import about_comparison, comparison, comparison_in_words, difference_in_words
from analysis.tables.costs import cost, cost_in_words
from analysis.tables.judged import breakpoint, measured, measured_in_words, thresholds
from analysis.tables.table import Column, Row, Table, text
from analysis.tables.target_side import billing, chains, cold_starts, functions, hops

__all__ = [
    "PARTS",
    "Column",
    "Row",
    "Table",
    "about_comparison",
    "billing",
    "breakdown",
    "breakpoint",
    "chains",
    "clocks_in_words",
    "cold_starts",
    "comparison",
    "comparison_in_words",
    "cost",
    "cost_in_words",
    "custom_metrics",
    "difference_in_words",
    "endpoints",
    "functions",
    "hops",
    "join",
    "join_in_words",
    "latency",
    "manifest",
    "mean_parts",
    "mean_request",
    "measured",
    "measured_in_words",
    "metrics",
    "metrics_in_words",
    "metrics_out_of_limits",
    "pull",
    "schedule",
    "statuses",
    "text",
    "thresholds",
    "workers",
]
