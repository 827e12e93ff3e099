"""The charts of the report as one Plotly figure: six rows above one another on one shared time axis.

A figure is plain data here (what Plotly calls data and layout); the page draws it. There are two layouts of the same
traces, for a wide page with the legends beside the rows and for a narrow one with the legends above them. Colours that
depend on the light or dark theme (text, grid) are set by the page.

Plotly reads a small HTML dialect in every text: names that came from logs go through `label`.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.formatting import moment, short_name
from analysis.series import Floats, Series

LABEL_CHARACTERS = 40
LABELS_SHOWN = 6
"""Statuses and functions drawn one by one; of the others, what can be added up is, as `other`."""

ROW_HEIGHT_PX = 118
GAP_PX = 38
"""Between two rows: room for the title of the lower one."""
LEGEND_LINE_PX = 20
MOST_WITH_SMALL_TICKS = 60
"""A logarithmic axis that spans more than this factor has ticks at powers of ten only, else at 1, 2 and 5."""
TOP_PX, BOTTOM_PX = 28, 44
NARROW_LEGEND_COLUMNS = 2

_BLUE, _AMBER, _RED, _GREEN, _VIOLET, _TEAL, _GREY = (
    "#4c86e8",
    "#e59a2f",
    "#e0484d",
    "#3da35d",
    "#9b6bd3",
    "#2aa5a0",
    "#8a919e",
)
LINE_COLOURS = [_BLUE, _AMBER, _GREEN, _VIOLET, _TEAL, "#d9669b", "#a3b32a", "#a5714e"]
NEUTRAL = _GREY
_PERCENTILE_COLOURS = {"p50": _BLUE, "p95": _AMBER, "p99": _RED}
_ERROR_COLOURS = (_RED, _AMBER, _VIOLET, _BLUE, _TEAL, "#d9669b")

Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One row: its title with the unit, and its traces without their place."""

    title: str
    traces: Sequence[Json]
    logarithmic: bool = False
    legend: bool = True
    """False where the title says what the only trace is."""


def draw(series: Series) -> Json:
    """`{"x", "traces", "wide", "narrow", "bins"}`; the page gives every trace the one x, adds colours and draws.

    `bins` has what the page adds up for the stretch of time that somebody looks at.
    """
    panels = [panel for panel in _panels(series) if panel.traces]
    width_ms = series.width_s * 1000
    traces = [
        {
            **trace,
            "xaxis": "x",
            "yaxis": f"y{_number(row)}",
            "legend": f"legend{_number(row)}",
            **({"width": width_ms, "offset": 0} if trace["type"] == "bar" else {}),
        }
        for row, panel in enumerate(panels)
        for trace in panel.traces
    ]
    return {
        "x": [_iso(at) for at in series.at],
        "traces": traces,
        "wide": _layout(panels, series, narrow=False),
        "narrow": _layout(panels, series, narrow=True),
        "bins": {
            "starts_at": series.starts_at,
            "width_s": series.width_s,
            # Locust's rates are over ten seconds each: no counts
            "sent": None if series.of_locust else _counts([series.sent_per_s], series.width_s),
            "failed": None if series.of_locust else _counts([series.failed_per_s], series.width_s),
            "cold_starts": _counts(list(series.cold_starts.values())),
        },
    }


def _counts(values: Sequence[Floats | None], seconds: float = 1) -> list[int] | None:
    """How many there were in each bin, of several functions together, or of a rate over so many seconds; None where
    nothing was counted."""
    known = [each for each in values if each is not None]
    return np.rint(np.sum(known, axis=0) * seconds).astype(int).tolist() if known else None


def _panels(series: Series) -> list[Panel]:
    per = "each second" if series.width_s == 1 else f"each {series.width_s} s"
    shown = dict.fromkeys((*list(series.concurrency)[:LABELS_SHOWN], *list(series.cold_starts)[:LABELS_SHOWN]))
    functions = dict(zip(shown, itertools.cycle(LINE_COLOURS), strict=False))  # the same colour in every row
    return [
        Panel(
            "Users",
            [] if series.users is None else [_line("users", series.users, _GREY, fill=True, step=True)],
            legend=False,
        ),
        Panel(
            "Requests per second",
            [
                _line(name, values, colour)
                for name, values, colour in (
                    ("offered", series.offered_per_s, _GREY),
                    ("sent", series.sent_per_s, _BLUE),
                    ("failed", series.failed_per_s, _RED),
                )
                if values is not None
            ],
        ),
        Panel(
            "Response time, ms",
            [
                _line(name, values, _PERCENTILE_COLOURS[name])
                for name, values in series.latency_ms.items()
                if not np.isnan(values).all()
            ],
            logarithmic=True,
        ),
        Panel(
            "Errors per second, by status",
            _bars(series.errors_per_s, dict(zip(series.errors_per_s, _ERROR_COLOURS, strict=False))),
        ),
        Panel(f"Cold starts, {per}", _bars(series.cold_starts, functions)),
        Panel(
            "Invocations at once",
            [
                _line(name, values, functions.get(name, _GREY), step=True)
                for name, values in list(series.concurrency.items())[:LABELS_SHOWN]
            ],
        ),
    ]


def _line(name: str, values: Floats, colour: str, fill: bool = False, step: bool = False) -> Json:
    return {
        "type": "scatter",
        # the only value of a run stands on the axis, where half of it would be cut off
        **({"mode": "lines+markers", "cliponaxis": False} if _has_lone_values(values) else {"mode": "lines"}),
        "marker": {"size": 5},
        "name": label(name),
        "y": numbers(values),
        "line": {"color": colour, "width": 1.6, "shape": "hv" if step else "linear"},
        **({"fill": "tozeroy", "fillcolor": f"{colour}33"} if fill else {}),
    }


def _has_lone_values(values: Floats) -> bool:
    """Whether some value has no neighbour: a line has nothing to lead to there, so that it would not be seen."""
    absent = np.isnan(np.concatenate(([np.nan], values, [np.nan])))
    return bool(np.any(~absent[1:-1] & absent[:-2] & absent[2:]))


def _bars(by_label: Mapping[str, Floats], colours: Mapping[str, str]) -> list[Json]:
    """One trace a label; those after LABELS_SHOWN are added up as `other`."""
    names = list(by_label)
    shown = {name: by_label[name] for name in names[:LABELS_SHOWN]}
    if len(names) > LABELS_SHOWN:
        shown["other"] = np.sum([by_label[name] for name in names[LABELS_SHOWN:]], axis=0)
    return [
        {
            "type": "bar",
            "name": label(name),
            "y": numbers(values),
            "marker": {"color": colours.get(name, _GREY), "line": {"width": 0}},
        }
        for name, values in shown.items()
    ]


@dataclass(frozen=True)
class _Places:
    """Where the rows stand: pixels from the top, which Plotly wants as shares of the plotting area from the bottom."""

    titles: Sequence[int]
    tops: Sequence[int]
    total: int

    def share(self, pixels: int) -> float:
        return 1 - pixels / self.total


def _places(panels: Sequence[Panel], narrow: bool) -> _Places:
    titles: list[int] = []
    tops: list[int] = []
    cursor = 0
    for panel in panels:
        cursor += GAP_PX if tops else 0
        titles.append(cursor)
        if narrow and panel.legend:
            cursor += math.ceil(len(panel.traces) / NARROW_LEGEND_COLUMNS) * LEGEND_LINE_PX
        tops.append(cursor)
        cursor += ROW_HEIGHT_PX
    return _Places(titles, tops, max(cursor, 1))


def _layout(panels: Sequence[Panel], series: Series, narrow: bool) -> Json:
    places = _places(panels, narrow)
    rows: Json = {}
    for row, (panel, top) in enumerate(zip(panels, places.tops, strict=True)):
        domain = [max(places.share(top + ROW_HEIGHT_PX), 0), places.share(top)]
        rows[f"yaxis{_number(row)}"] = _value_axis(panel, domain)
        rows[f"legend{_number(row)}"] = _legend(panel, places.share(top), narrow)
    return {
        "height": places.total + TOP_PX + BOTTOM_PX,
        "margin": {"l": 48 if narrow else 60, "r": 8 if narrow else 136, "t": TOP_PX, "b": BOTTOM_PX},
        "barmode": "stack",
        "bargap": 0,
        "hovermode": "x unified",
        "dragmode": False if narrow else "zoom",
        "showlegend": True,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": _time_axis(series, narrow),
        "annotations": [_title(panel, places.share(title)) for panel, title in zip(panels, places.titles, strict=True)],
        "shapes": [] if series.warmup_until is None else [_shade(series.starts_at, series.warmup_until)],
        **rows,
    }


def _time_axis(series: Series, narrow: bool) -> Json:
    return {
        "type": "date",
        "anchor": "free",
        "position": 0,
        "range": [_iso(series.starts_at), _iso(series.starts_at + series.width_s * series.bins)],
        "showspikes": True,
        "spikemode": "across",
        "spikethickness": 1,
        "spikedash": "dot",
        "title": {"text": "UTC", "standoff": 6},
        "nticks": 5 if narrow else 10,
        "tickangle": 0,  # turned, they would lie over the title and be cut off
    }


def _value_axis(panel: Panel, domain: Sequence[float]) -> Json:
    return {
        "domain": domain,
        "anchor": "x",
        **(_logarithmic(panel) if panel.logarithmic else {"type": "linear", "rangemode": "tozero", "nticks": 4}),
        "zeroline": False,
        "fixedrange": True,
    }


def _title(panel: Panel, y: float) -> Json:
    return {
        "text": f"<b>{html.escape(panel.title)}</b>",
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13},
    }


def _shade(begin: float, end: float) -> Json:
    """The warm-up, behind all rows."""
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": _iso(begin),
        "x1": _iso(end),
        "y0": 0,
        "y1": 1,
        "line": {"width": 0},
        "fillcolor": "rgba(138,145,158,0.14)",
        "layer": "below",
    }


def _logarithmic(panel: Panel) -> Json:
    return logarithmic([value for trace in panel.traces for value in trace["y"] if value is not None])


def logarithmic(values: Sequence[float]) -> Json:
    """An axis from a 1, 2 or 5 below the least value to one above the greatest, so that it has at least two ticks."""
    values = [value for value in values if value > 0]
    if not values:
        return {"type": "log"}
    first, last = (math.floor(math.log10(value)) for value in (min(values), max(values)))
    steps = [float(f"{step}e{decade}") for decade in range(first - 1, last + 2) for step in (1, 2, 5)]
    lower = max(step for step in steps if step < min(values))
    upper = min(step for step in steps if step > max(values))
    axis: Json = {"type": "log", "range": [math.log10(lower), math.log10(upper)]}
    if upper / lower > MOST_WITH_SMALL_TICKS:
        return {**axis, "dtick": 1}
    # of plotly's own ticks between powers of ten, 20 would be a mere 2
    ticks = [step for step in steps if lower <= step <= upper]
    return {**axis, "tickvals": ticks, "ticktext": [f"{tick:,g}" for tick in ticks]}


def _legend(panel: Panel, top: float, narrow: bool) -> Json:
    common = {"bgcolor": "rgba(0,0,0,0)", "font": {"size": 12}, "tracegroupgap": 0}
    if not panel.legend:
        return {**common, "visible": False}
    if narrow:
        return {**common, "orientation": "h", "x": 0, "xanchor": "left", "y": top, "yanchor": "bottom"}
    return {**common, "orientation": "v", "x": 1.01, "xanchor": "left", "y": top, "yanchor": "top"}


def _number(row: int) -> str:
    """Plotly counts axes and legends y, y2, y3, ..."""
    return "" if row == 0 else str(row + 1)


def _iso(at: float) -> str:
    when = moment(at)
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03d}"


def label(name: object) -> str:
    """A name from logs as text of a chart: Plotly reads tags and the entities of `<`, `>` and `&` in it."""
    return html.escape(short_name(name, LABEL_CHARACTERS), quote=False)


def numbers(values: Floats) -> list[float | None]:
    """JSON has no NaN and no infinity: what was not measured is null. Five digits are more than a chart shows."""
    return [None if not math.isfinite(value) else float(f"{value:.5g}") for value in values.tolist()]
