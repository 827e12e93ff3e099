"""The HTML report as a browser would take it apart: nothing from outside, and whatever is hostile stays text."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from plotly.offline import get_plotlyjs

from analysis import figure, latency_chart, report
from analysis.latency import ENDPOINTS_DRAWN, LEVELS, Curve, Latency
from analysis.series import Series
from runstore.rundir import RunDir
from tests.analysis.test_series import T0, write_requests

SUMMARY: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "summary.json").read_text())
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028'\"--><b>"


def series(**more: Any) -> Series:
    given: dict[str, Any] = {
        "users": np.array([1.0, 2.0, np.nan]),
        "sent_per_s": np.array([1.0, 2.0, 0.0]),
        "failed_per_s": np.array([0.0, 1.0, 0.0]),
        "latency_ms": {name: np.array([1.0, np.nan, 3.0]) for name in ("p50", "p95", "p99")},
        "errors_per_s": {"502": np.array([0.0, 1.0, 0.0])},
        "cold_starts": {"place-vote": np.array([1.0, 0.0, 0.0])},
        "concurrency": {"place-vote": np.array([1.0, 2.0, 0.0])},
    }
    return Series(1_795_255_223.0, 1, 3, **{**given, **more})


def response_times(*names: str | None) -> Latency:
    """The same curve for each endpoint: 200 requests that took 1 to 200 ms, in the second of three stretches."""
    ms = np.where(np.arange(len(LEVELS)) <= 46, 1 + 199 * LEVELS, np.nan)
    at = {"p50": 100.5, "p90": 180.1, "p95": 190.05, "p99": 198.01, "p99.9": None, "p99.99": None, "max": 200.0}
    return Latency([Curve(name, 200, ms, at, {1: {70: 200}}) for name in names], 0, 1)


class Page(HTMLParser):
    """Start tags with their attributes, the text of scripts, and all other text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(
        report.render(
            SUMMARY,
            series(),
            response_times("POST /vote"),
            {"run_id": "r", "workers": []},
            {"complete": True, "slices": []},
        )
    )


def hostile_everywhere(value: Any) -> Any:
    """The same structure with every text, and every key that is a name, replaced by the hostile one."""
    if isinstance(value, dict):
        named = {"endpoints", "functions", "breakdown", "chains", "status"}
        return {
            key: {f"{HOSTILE}{number}": hostile_everywhere(one) for number, one in enumerate(inner.values())}
            if key in named and isinstance(inner, dict)
            else hostile_everywhere(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [hostile_everywhere(one) for one in value]
    return HOSTILE if isinstance(value, str) else value


def test_the_page_refers_to_nothing_outside_itself(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, name, target)
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}


def test_the_style_loads_nothing(page: Page) -> None:
    style = (Path(report.__file__).parent / "templates" / "report.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_the_browser_is_told_to_load_nothing(page: Page) -> None:
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_every_link_leads_somewhere(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.tags if attributes.get("id")}
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert len(links) >= 8
    assert {f"#{one}" for one in ids} >= links


def test_verdict_and_causes_come_before_everything_else(page: Page) -> None:
    words = [
        "Failed: 2 of 3",
        "Why requests failed",
        "What to do",
        "A request counts where",
        "Response times as the client",
    ]
    places = [page.text.rindex(one) for one in words[:2]] + [page.text.index(one) for one in words[2:]]
    assert places[0] < places[1] < places[2] < places[3] < places[4]


def test_the_bottleneck_is_named_with_its_evidence(page: Page) -> None:
    for words in (
        "place-vote: ProvisionedThroughputExceededException on PutRecord, stream votes",
        "handler.py:31 place_vote",
        "2 shards are needed",
        "7c0a3f6e-5f0e-4d5a-9f39-0d7b2c4de001",
        "Simulated, not AWS",
    ):
        assert words in page.text


def test_hostile_names_stay_text_everywhere() -> None:
    clean = Page(report.render(SUMMARY, series(), response_times("a"), {"run_id": "r"}, {}))
    hostile = Page(
        report.render(
            hostile_everywhere(SUMMARY),
            series(
                errors_per_s={HOSTILE: np.ones(3)}, cold_starts={HOSTILE: np.ones(3)}, concurrency={HOSTILE: np.ones(3)}
            ),
            response_times(HOSTILE),
            {"run_id": HOSTILE, "functions": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}},
            {},
        )
    )
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in clean.tags}
    assert sum(tag == "script" for tag, _ in hostile.tags) == sum(tag == "script" for tag, _ in clean.tags) == 3
    assert not any(name.startswith("on") for _, attributes in hostile.tags for name in attributes)
    assert "<script>alert(1)</script>" in hostile.text, "shown as it was written"


def test_json_in_the_page_cannot_end_its_script() -> None:
    text = report.script_json({"name": HOSTILE})
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == {"name": HOSTILE}


def test_names_in_the_figure_are_no_plotly_html() -> None:
    drawn = figure.draw(series(errors_per_s={"<a href='http://evil.example'>x</a>": np.ones(3)}))
    assert not any("<" in trace["name"] for trace in drawn["traces"])


def test_the_chart_library_can_stand_in_a_script_element() -> None:
    assert "</script" not in get_plotlyjs().lower()


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_plotly_accepts_the_figure(width: str) -> None:
    drawn = figure.draw(series(warmup_until=1_795_255_224.0))
    plotly.graph_objects.Figure({"data": drawn["traces"], "layout": drawn[width]})
    curves = latency_chart.draw(response_times(None, "a", "b"))
    plotly.graph_objects.Figure({"data": curves["traces"], "layout": curves[width]})


def test_all_rows_share_one_time_axis_and_do_not_overlap() -> None:
    drawn = figure.draw(series())
    assert {trace["xaxis"] for trace in drawn["traces"]} == {"x"}
    for layout in (drawn["wide"], drawn["narrow"]):
        domains = [layout[name]["domain"] for name in sorted(layout) if name.startswith("yaxis")]
        assert len(domains) == 6
        assert all(lower[1] < upper[0] for upper, lower in itertools.pairwise(domains))


@pytest.mark.parametrize("width", ["wide", "narrow"])
def test_times_below_the_rows_stay_level(width: str) -> None:
    """Plotly turns labels that come close, over the title below them and out of the picture."""
    assert figure.draw(series())[width]["xaxis"]["tickangle"] == 0


def test_what_was_not_measured_is_a_gap_and_no_zero() -> None:
    traces = {trace["name"]: trace for trace in figure.draw(series())["traces"]}
    assert traces["p50"]["y"] == [1.0, None, 3.0]


def test_many_labels_are_added_up() -> None:
    drawn = figure.draw(series(errors_per_s={str(status): np.ones(3) for status in range(500, 510)}))
    errors = [trace for trace in drawn["traces"] if trace["yaxis"] == "y4"]
    assert [trace["name"] for trace in errors] == ["500", "501", "502", "503", "504", "505", "other"]
    assert errors[-1]["y"] == [4.0, 4.0, 4.0]


def test_rows_without_data_are_left_out() -> None:
    drawn = figure.draw(series(users=None, cold_starts={}, concurrency={}, errors_per_s={}))
    assert {trace["yaxis"] for trace in drawn["traces"]} == {"y", "y2"}


@pytest.mark.parametrize("summary", [{}, {"run": {"complete": False}, "client": {"requests": 0, "endpoints": {}}}])
def test_a_run_without_data_still_gives_a_page(summary: dict[str, Any]) -> None:
    page = Page(report.render(summary))
    assert "Incomplete: the run or its data is not whole" in page.text
    assert page.scripts == []


def test_one_request_has_no_curve_and_is_seen_all_the_same() -> None:
    alone = replace(response_times("POST /vote"), curves=[replace(response_times(None).curves[0], requests=1)])
    lone = {name: np.array([1.0]) for name in ("users", "sent_per_s", "failed_per_s")}
    page = Page(report.render(SUMMARY, Series(T0, 1, 1, latency_ms={"p50": np.array([5.0])}, **lone), alone))
    charts = json.loads(page.scripts[0])
    assert charts["latency"] is None
    assert "latency-chart" not in {attributes.get("id") for _, attributes in page.tags}
    assert "Latency distribution" in page.text
    assert {(trace["mode"], trace["cliponaxis"]) for trace in charts["time"]["traces"]} == {("lines+markers", False)}


@pytest.mark.parametrize(("measured", "label"), [(100, "error rate"), (75, "error rate after the warm-up")])
def test_the_tile_of_failures_has_the_rate_that_thresholds_are_held_against(measured: int, label: str) -> None:
    client = {"requests": 100, "failures": 5, "error_rate": 0.04, "measured": {"requests": measured, "failures": 3}}
    assert report.tiles({"client": client})[1] == {"label": label, "value": "4.00 %"}


@pytest.mark.parametrize(
    ("item", "label"),
    [("kms_requests", "per million requests, without KMS"), ("logs_scanned_gb", "per million requests")],
)
def test_the_tile_of_the_cost_says_what_it_is_without(item: str, label: str) -> None:
    cost = {"per_million_usd": 8.61, "items": [{"item": item, "service": "KMS", "usd": None}]}
    assert report.tiles({"cost": cost}) == [{"label": label, "value": "$8.61"}]


def test_the_parts_of_a_request_add_up_to_its_mean() -> None:
    (bar,) = report.breakdown_bars(
        {
            "breakdown": {
                "POST /vote": {
                    "client_network_ms": {"count": 10, "mean": 5.0},
                    "init_ms": {"count": 1, "mean": 200.0},
                    "handler_ms": {"count": 10, "mean": 25.0},
                }
            }
        }
    )
    assert bar["total_ms"] == 50.0, "one cold start in ten adds a tenth of its init to the mean"
    assert sum(part["percent"] for part in bar["parts"]) == pytest.approx(100)


def test_what_is_known_to_a_part_only_is_no_bar() -> None:
    asynchronous = {"init_ms": {"count": 1, "mean": 0.0}, "handler_ms": {"count": 1, "mean": 30.0}}
    assert report.breakdown_bars({"breakdown": {"Invoke place-vote": asynchronous}}) == []


def test_endpoints_that_begin_alike_are_told_apart() -> None:
    path = "POST /api/v2/customers/{customer_id}/orders/{order_id}"
    one = {"requests": 1, "failures": 0, "p50_ms": 5.0}
    page = Page(report.render({"client": {"endpoints": {f"{path}/items": one, f"{path}/invoices": one}}}))
    assert f"{path}/items" in page.text
    assert f"{path}/invoices" in page.text


def test_everything_is_written_into_the_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    written = report.write_all(run, SUMMARY)
    assert [path.name for path in written] == ["report.html", "summary.md", "junit.xml"]
    assert all(path.read_text(encoding="utf-8") for path in written)


@pytest.mark.parametrize(
    ("values", "limits", "ticks"),
    [
        ([210.0, 260.0], (200, 500), ["200", "500"]),
        ([1.0, 999.0], (0.5, 1000), None),
        ([0.3, 5.0], (0.2, 10), ["0.2", "0.5", "1", "2", "5", "10"]),
        ([1000.0], (500, 2000), ["500", "1,000", "2,000"]),
    ],
)
def test_a_logarithmic_axis_has_two_ticks_at_least(
    values: list[float], limits: tuple[float, float], ticks: list[str] | None
) -> None:
    drawn = figure.draw(series(users=None, latency_ms={"p50": np.array([*values, np.nan])}))
    axis = drawn["wide"]["yaxis2"]
    assert [round(10**edge, 6) for edge in axis["range"]] == list(limits)
    assert (axis.get("ticktext"), axis.get("dtick")) == (ticks, None if ticks else 1)


def test_a_page_is_bounded_however_large_the_run() -> None:
    """What is drawn at most, of random numbers, and far more endpoints, functions and causes than rows are shown."""
    random = np.random.default_rng(1).uniform(1, 9999, 600)
    labels = {f"{'n' * 40}{number}": random for number in range(50)}
    largest = Series(
        1_795_255_223.0, 60, 600, users=random, offered_per_s=random, sent_per_s=random, failed_per_s=random,
        latency_ms=dict.fromkeys(("p50", "p95", "p99"), random), errors_per_s=labels, cold_starts=labels,
        concurrency=labels,
    )  # fmt: skip
    buckets = {stretch: dict.fromkeys(range(60, 120), 1234) for stretch in range(120)}
    one = response_times(None).curves[0]
    endpoints = [None, *(f"{'e' * 40}{number}" for number in range(ENDPOINTS_DRAWN))]
    curves = [replace(one, endpoint=endpoint, histograms=buckets) for endpoint in endpoints]
    names = [f"GET /item/{'i' * 60}/{number}" for number in range(1000)]
    summary = {
        "run": {"complete": True, "warnings": names},
        "client": {
            "requests": 10**6,
            "endpoints": dict.fromkeys(names, SUMMARY["client"]["endpoints"]["POST /vote"]),
        },
        "functions": dict.fromkeys(names, SUMMARY["functions"]["place-vote"]),
        "breakdown": dict.fromkeys(names, SUMMARY["breakdown"]["POST /vote"]),
        "root_causes": [{**SUMMARY["root_causes"][0], "message": "m" * 10_000, "frame": name} for name in names],
        "thresholds": [{"expression": name, "verdict": "fail", "value": 1.0} for name in names],
    }
    page = report.render(summary, largest, Latency(curves, 0, 5))
    assert len(page.encode()) < 6_000_000
    assert "900 more rows are in summary.json." in page
    assert "997 more, 47 of them here and all of them in summary.json" in page


def test_repeated_names_are_set_back_but_not_verdicts() -> None:
    rows = [{"expression": f"p95_ms < {limit}", "verdict": "pass", "value": 1.0} for limit in (1, 2)]
    hops = [{"function": name, "reached": 1} for name in ("a", "b")]
    html = report.render({"thresholds": rows, "chains": {"shop": {"hops": hops}}})
    assert html.count('<td class="again">shop</td>') == 1
    assert html.count('<td class="again">') == 1


def test_a_run_of_locust_alone_is_drawn_from_its_history(tmp_path: Path) -> None:
    lines = ["Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,95%,99%,Total Request Count"]
    lines += [f"{1_795_255_223 + second},5,,Aggregated,12.5,0.5,20,40,60,{second}" for second in range(3)]
    (tmp_path / "locust_stats_history.csv").write_text("\r\n".join([*lines, ""]))
    run = RunDir(tmp_path)
    report.write_all(run, {"run": {"warnings": ["no request was recorded"]}})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "no request was recorded" in page.text
    assert "those of Locust's own history" in page.text
    drawn = json.loads(page.scripts[0])["time"]
    assert {trace["name"]: trace["y"][-1] for trace in drawn["traces"]} == {
        "users": 5, "sent": 12.5, "failed": 0.5, "p50": 20, "p95": 40, "p99": 60,
    }  # fmt: skip
    assert drawn["bins"]["sent"] is None, "rates over ten seconds are no counts"


def test_a_run_in_which_all_failed_without_an_answer_has_no_latency(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write_requests(run, [{"started_at": T0 + number, "ok": 0, "error": "refused"} for number in range(5)])
    report.write_all(run, {"run": {"complete": True}, "client": {"requests": 5, "failures": 5}})
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert json.loads(page.scripts[0])["latency"] is None
    assert "Latency distribution" not in page.text
    assert "100 %" in page.text
