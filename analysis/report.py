"""`report.html`: one page that opens offline, with the verdict and the causes first and every figure behind them.

The page holds its own style, its own script and the chart library; its Content-Security-Policy lets it load nothing
else. Text from logs, payloads and names is escaped by the template, and once more where it stands in a script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis import breakpoint, figure, formatting, junit, latency, latency_chart, markdown, tables
from analysis.cost import left_out
from analysis.latency import Latency
from analysis.run_files import files_blamed, read_json
from analysis.series import Series, build
from analysis.verdict import answers, cause_title, causes, duration_s, judge, message
from analysis.workplace import SHOWN
from runstore.rundir import RunDir

ROWS_SHOWN = 100
"""Of any table: an endpoint for every id in an address makes thousands, which nobody reads."""

BARS_SHOWN = 20

_FILTERS = (
    formatting.count,
    formatting.date_and_time,
    formatting.decimal,
    formatting.milliseconds,
    formatting.share,
    formatting.short_name,
    formatting.time_of_day,
    formatting.timespan,
    formatting.usd,
    formatting.visible,
)
# What the template names: absent in an older or unfinished summary, it is None.
_RUN = ("id", "profile", "flows", "target", "simulated", "region", "started_at", "ended_at", "warnings")
_CLIENT = ("requests", "failures", "dropped", "offered", "rps")
_CAUSE = ("status", "requests", "share", "flow", "frame", "first_at", "last_at", "examples", "advice")


def write_all(run: RunDir, summary: Mapping[str, Any]) -> list[Path]:
    """Write SHOWN into the run's directory; the paths of what was written.

    Raises DataFormatError and IncompleteError where a file of the run is damaged.
    """
    with files_blamed(run):
        series = build(run)
        response_times = latency.build(run, series)
    manifest, pull = read_json(run, "manifest.json"), read_json(run, "pull.json")
    page = render(summary, series, response_times, manifest, pull)
    for name, text in zip(SHOWN, (page, markdown.render(summary), junit.render(summary)), strict=True):
        run.write_text(name, text)
    return [run.file(name) for name in SHOWN]


def environment(*templates: Path) -> jinja2.Environment:
    """For pages that extend `page.html`, with what values are written with; `templates`: directories of others."""
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*templates, Path(__file__).parent / "templates"]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    pages.filters.update({written.__name__: written for written in _FILTERS})
    return pages


def render(
    summary: Mapping[str, Any],
    series: Series | None = None,
    response_times: Latency | None = None,
    manifest: Mapping[str, Any] | None = None,
    pull: Mapping[str, Any] | None = None,
) -> str:
    """The page. Without a series it has no charts; what else is missing is left out."""
    run = {**dict.fromkeys(_RUN), **(summary.get("run") or {})}
    client = {**dict.fromkeys(_CLIENT), **(summary.get("client") or {})}
    # of one request there is no curve
    has_curve = response_times is not None and any(curve.requests > 1 for curve in response_times.curves)
    charts = _charts(series, response_times if has_curve else None)
    page = environment().get_template("report.html")
    return page.render(
        run=run,
        client=client,
        tiles=tiles(summary),
        verdict=judge(summary),
        broken=[
            {
                "expression": formatting.visible(one.get("expression"), 200),
                "measured": tables.measured_in_words(one),
            }
            for one in summary.get("thresholds") or []
            if one.get("verdict") != "pass"
        ],
        lasted=duration_s(run),
        causes=[_card(cause) for cause in causes(summary)],
        breakdown=breakdown_bars(summary)[:BARS_SHOWN],
        search=_search(summary),
        parts=tables.PARTS,
        has_curve=has_curve,
        tables=[
            (key, table.first(ROWS_SHOWN))
            for key, table in _tables(summary, response_times, manifest or {}, pull or {})
        ],
        charts=script_json(charts) if charts else None,
        not_drawn=series.not_drawn if series is not None else 0,
        of_locust=series is not None and series.of_locust,
        # the library's own text holds no "</script"; a test keeps watch over that
        plotly=Markup(get_plotlyjs()) if charts else None,
    )


def _charts(series: Series | None, response_times: Latency | None) -> dict[str, Any] | None:
    """What the page draws: over time and, where there is a curve, by response time; None without anything to draw."""
    drawn = figure.draw(series) if series is not None else None
    if not drawn or not drawn["traces"]:
        return None
    return {"time": drawn, "latency": latency_chart.draw(response_times) if response_times else None}


def _tables(
    summary: Mapping[str, Any],
    response_times: Latency | None,
    manifest: Mapping[str, Any],
    pull: Mapping[str, Any],
) -> list[tuple[str, tables.Table]]:
    """By the name that the template knows each by."""
    return [
        ("breakpoint", tables.breakpoint(summary)),
        ("latency", tables.latency(response_times)),
        ("endpoints", tables.endpoints(summary)),
        ("schedule", tables.schedule(summary)),
        ("breakdown", tables.breakdown(summary)),
        ("functions", tables.functions(summary)),
        ("billing", tables.billing(summary)),
        ("cold-starts", tables.cold_starts(summary)),
        ("chains", tables.chains(summary)),
        ("hops", tables.hops(summary)),
        ("cost", tables.cost(summary)),
        ("metrics", tables.metrics(summary)),
        ("custom-metrics", tables.custom_metrics(summary)),
        ("thresholds", tables.thresholds(summary)),
        ("workers", tables.workers(summary)),
        ("join", tables.join(summary)),
        ("pull", tables.pull(pull)),
        ("manifest", tables.manifest(manifest)),
    ]


def tiles(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """The key figures under the verdict, each with its label; what was not measured is left out."""
    client, functions = summary.get("client") or {}, (summary.get("functions") or {}).values()
    cost = summary.get("cost") or {}
    unknown = ", ".join(formatting.visible(service) for service in left_out(cost, "per_million_usd"))
    invocations = _total([one.get("invocations", 0) for one in functions])
    cold_starts = _total([one.get("cold_starts", 0) for one in functions])
    warmed_up = (client.get("measured") or client).get("requests") != client.get("requests")
    # Else it would contradict the share in the verdict, which is of all requests.
    error_rate = "error rate after the warm-up" if warmed_up else "error rate"
    tiles = [
        ("requests", formatting.count(client.get("requests"))),
        (error_rate, formatting.share(client.get("error_rate"))),
        ("requests per second", formatting.decimal(client.get("rps"))),
        ("p50, ms", formatting.milliseconds(client.get("p50_ms"))),
        ("p95, ms", formatting.milliseconds(client.get("p95_ms"))),
        ("p99, ms", formatting.milliseconds(client.get("p99_ms"))),
        (f"cold starts of {formatting.plural(invocations, 'call')}", formatting.count(cold_starts)),
        (
            f"per million requests, without {unknown}" if unknown else "per million requests",
            formatting.usd(cost.get("per_million_usd")),
        ),
    ]
    if client.get("dropped"):
        offered = formatting.count(client.get("offered"))
        tiles.insert(2, (f"dropped of {offered} offered", formatting.count(client["dropped"])))
    return [{"label": label, "value": value} for label, value in tiles if value != formatting.NOTHING]


def _total(counts: Sequence[int | None]) -> int | None:
    """None where one of them is not known, or there are none."""
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def _search(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the section of the breakpoint shows above its table; None where none was searched for."""
    found = summary.get("breakpoint")
    if not found:
        return None
    words, limit = breakpoint.in_words(found), breakpoint.limit_in_words(found)
    return {
        "words": words,
        "limit": limit,
        "cost_usd": found.get("cost_usd"),
        "bars": breakpoint.bars(found),
        "highest": max((step["rate"] for step in found.get("steps") or []), default=None),
        "width": breakpoint.WIDTH,
        "height": breakpoint.HEIGHT,
    }


def _card(cause: Mapping[str, Any]) -> dict[str, Any]:
    words = {"title": cause_title(cause), "answer": answers(cause), "message": message(cause)}
    return {**dict.fromkeys(_CAUSE), **cause, **words}


def script_json(value: object) -> Markup:
    """`value` as JSON that can stand in a <script> element: no tag can begin or end in it, no line can end in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def breakdown_bars(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mean request of each endpoint: `{"endpoint", "total_ms", "parts": [{"label", "ms", "percent"}]}`.

    None of an endpoint that is known to a part only (asynchronous invokes): it would show the part as the whole.
    """
    bars = []
    for endpoint, parts in tables.mean_parts(summary).items():
        if parts["client_network_ms"] is None:
            continue
        total = sum(max(ms or 0, 0) for ms in parts.values())
        each = ((label, parts[key]) for key, label in tables.PARTS)
        bars.append(
            {
                "endpoint": endpoint,
                "total_ms": total,
                "parts": [
                    {"label": label, "ms": ms, "percent": round(100 * max(ms or 0, 0) / total, 3)} for label, ms in each
                ],
            }
        )
    return bars
