"""The distribution of response times as a Plotly figure: percentiles on an axis that gives each nine as much room, in
milliseconds on a logarithmic one.

Beside the curves stand the counts of `analysis.latency` for every stretch of the run, so that the page can draw the
distribution of what somebody zooms into. Data and layout are plain; colours of the theme are the page's.
"""

from __future__ import annotations

import math
from typing import Any

from analysis.figure import LINE_COLOURS, NEUTRAL, label, logarithmic, numbers
from analysis.latency import ALL, BUCKET_RATIO, LEAST_MS, LEVELS, NINES, STEPS_PER_NINE, Curve, Latency

HEIGHT_PX = 340
LEGEND_LINE_PX = 22
TICKS = {0.0: "0", 0.5: "p50", 0.9: "p90", 0.99: "p99", 0.999: "p99.9", 0.9999: "p99.99"}

Json = dict[str, Any]


def draw(latency: Latency) -> Json:
    """`{"traces", "wide", "narrow", "stretches"}`; the page adds colours and draws."""
    x = [round(number / STEPS_PER_NINE, 4) for number in range(len(LEVELS))]
    labels = [_percentile(level) for level in LEVELS.tolist()]
    colours = iter(LINE_COLOURS)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": ALL if curve.endpoint is None else label(curve.endpoint),
            "x": x,
            "y": numbers(curve.values_ms),
            "text": labels,
            "hovertemplate": "%{text}: %{y:,.4~r} ms",
            "line": {"color": NEUTRAL, "width": 3}
            if curve.endpoint is None
            else {"color": next(colours), "width": 1.8},
        }
        for curve in latency.curves
    ]
    return {
        "traces": traces,
        "wide": _layout(traces, narrow=False),
        "narrow": _layout(traces, narrow=True),
        "stretches": {
            "bins": latency.bins_per_stretch,
            "least_ms": LEAST_MS,
            "ratio": BUCKET_RATIO,
            "counts": [_flat(curve) for curve in latency.curves],
        },
    }


def _flat(curve: Curve) -> dict[str, list[int]]:
    """Stretch -> bucket, requests, bucket, requests, ...; half the size of objects."""
    return {
        str(stretch): [number for bucket in sorted(buckets.items()) for number in bucket]
        for stretch, buckets in sorted(curve.histograms.items())
    }


def _percentile(level: float) -> str:
    """`p99.93`: as many digits as tell it from the next one."""
    digits = 1 if level < 0.9 else math.ceil(round(-math.log10(1 - level), 6))
    return "p" + f"{100 * level:.{digits}f}".rstrip("0").removesuffix(".")


def _layout(traces: list[Json], narrow: bool) -> Json:
    legend_px = len(traces) * LEGEND_LINE_PX if narrow else 0
    axis = logarithmic([value for trace in traces for value in trace["y"] if value is not None])
    reached = [x for trace in traces for x, value in zip(trace["x"], trace["y"], strict=True) if value is not None]
    return {
        "height": HEIGHT_PX + legend_px,
        "margin": {"l": 56 if narrow else 66, "r": 10 if narrow else 190, "t": 28 + legend_px, "b": 50},
        "hovermode": "x unified",
        "dragmode": False if narrow else "zoom",
        "showlegend": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12}}
        | ({"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"} if narrow else {"x": 1.01, "y": 1}),
        "xaxis": {
            "range": [0, min(max(reached, default=NINES) + 0.1, NINES)],
            "tickmode": "array",
            "tickvals": [round(-math.log10(1 - share), 4) for share in TICKS],
            "ticktext": list(TICKS.values()),
            "zeroline": False,
            "title": {"text": "share of requests that were at least as fast", "standoff": 8},
        },
        "yaxis": {**axis, "zeroline": False, "fixedrange": True},
        "annotations": [
            {
                "text": "<b>Response time, ms</b>",
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "y": 1,
                "yshift": legend_px + 4,
                "xanchor": "left",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 13},
            }
        ],
    }
