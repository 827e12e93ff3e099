"""The report as a browser shows it: complete, quiet, asking nobody for anything, and as wide as its window."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis import report
from analysis.latency import LEVELS, Curve, Latency
from analysis.series import Series
from tests.analysis import hostile
from tests.end_to_end.browser import Page, find_browser

CHROMIUM = find_browser()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (apt install chromium, or name one in CHROMIUM)"
)
NAMES = [text for name, text in hostile.TEXTS.items() if name not in ("long", "invisible")]
DRAWN = "document.readyState === 'complete' && !!document.querySelector('#latency-chart .main-svg')"
STARTS_AT = 1_795_255_200.0
"""2026-11-21 10:00:00 UTC"""


def hostile_report() -> str:
    """A page with hostile names in each place, in the charts too: three bins, in the second of which all was slow."""
    summary = hostile.summary_with(" ".join(NAMES))
    series = Series(
        STARTS_AT,
        1,
        3,
        users=np.array([1.0, 2.0, 3.0]),
        sent_per_s=np.array([100.0, 200.0, 100.0]),
        failed_per_s=np.array([0.0, 30.0, 0.0]),
        latency_ms={"p50": np.array([10.0, 500.0, 10.0])},
        errors_per_s={name: np.array([0.0, 1.0, 0.0]) for name in NAMES},
        cold_starts={name: np.array([1.0, 0.0, 0.0]) for name in NAMES[:6]},
        concurrency={name: np.array([1.0, 5.0, 1.0]) for name in NAMES[:6]},
    )
    steps = {0: {48: 100}, 1: {89: 200}, 2: {48: 100}}  # buckets from 9.7 and from 482 ms on
    told = LEVELS <= 1 - 1 / 400
    at = dict.fromkeys(("p50", "p90", "p95", "p99", "p99.9", "p99.99", "max"), 10.0)
    curves = [Curve(name, 400, np.where(told, 10 + 490 * LEVELS, np.nan), at, steps) for name in (None, *NAMES[:8])]
    return report.render(summary, series, Latency(curves, 0, 1), {"run_id": NAMES[0]}, {"complete": True, "slices": []})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert CHROMIUM is not None
    folder = tmp_path_factory.mktemp("report")
    (folder / "report.html").write_text(hostile_report(), encoding="utf-8")
    opened = Page(CHROMIUM, folder)
    try:
        opened.watch()
        opened.show(1280, "light")
        opened.open((folder / "report.html").as_uri())
        opened.wait_for(DRAWN)
        yield opened
    finally:
        opened.close()


INK = "getComputedStyle(document.querySelector('#time-charts .xtick text')).fill"
INKS = {"light": "rgb(58, 64, 74)", "dark": "rgb(195, 202, 212)"}


def show(page: Page, width: int, scheme: str) -> None:
    """The page in a window of that width, its charts drawn for it: a while after the browser was told."""
    page.show(width, scheme)
    page.wait_for(f"""innerWidth === {width} && {INK} === '{INKS[scheme]}' && document.getElementById('time-charts')
                      .clientWidth === document.querySelector('#time-charts .main-svg').clientWidth""")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_as_wide_as_its_window_and_drawn(page: Page, width: int, scheme: str) -> None:
    show(page, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = """[...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll')
               && one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(wider) == [], "wide tables scroll in their own boxes, and nothing else is cut off"


def test_charts_show_hostile_names_as_they_are(page: Page) -> None:
    show(page, 1280, "light")
    shown = page.evaluate("[...document.querySelectorAll('.legendtext')].map((one) => one.textContent)")
    for start in ("</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>'\"--><b>", "${{ github.token }}"):
        assert any(text.startswith(start) for text in shown), (start, shown)
    assert page.evaluate("document.querySelectorAll('.plot a, .plot img, .plot script, main script').length") == 0


def test_zooming_moves_all_rows_the_figures_and_the_distribution(page: Page) -> None:
    show(page, 1280, "light")
    assert "Whole run · 400 requests · 30 failed (7.50 %)" in page.text()
    whole = page.evaluate("document.getElementById('latency-chart').data[0].y[20]")
    page.evaluate("""Plotly.relayout('time-charts', {'xaxis.range[0]': '2026-11-21 10:00:01',
                                                    'xaxis.range[1]': '2026-11-21 10:00:02'}).then(() => true)""")
    page.wait_for("document.getElementById('stretch').textContent.startsWith('10:00:01')")
    assert "10:00:01 to 10:00:02 UTC (1 s) · 200 requests · 30 failed (15.00 %)" in page.text()
    zoomed = page.evaluate("document.getElementById('latency-chart').data[0].y[20]")
    assert (whole, zoomed) == (pytest.approx(451), pytest.approx(526, rel=0.1)), "p90 of the whole run and the stretch"
    show(page, 390, "light")
    page.click("[data-move=back]")
    page.wait_for("document.getElementById('stretch').textContent.startsWith('10:00:00 to')")
    assert "100 requests · 0 failed (0 %)" in page.text(), "as the tables write shares"
    page.click("[data-move=all]")
    assert "Whole run" in page.text()
    assert page.evaluate("document.getElementById('latency-chart').data[0].y[20]") == whole


def test_printed_it_is_light_whole_and_nothing_is_cut_off(page: Page) -> None:
    show(page, 1280, "dark")
    page.call("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert page.evaluate("document.querySelector('#time-charts .main-svg').clientHeight") <= 780, "fits on a sheet"
    boxes = "[...document.querySelectorAll('.scroll')].map((one) => getComputedStyle(one).overflowY)"
    assert set(page.evaluate(boxes)) == {"visible"}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.call("Emulation.setEmulatedMedia", media="")


def test_thresholds_fit_on_a_phone(page: Page, tmp_path: Path) -> None:
    summary = {
        "thresholds": [
            {"expression": "POST /vote: p95_ms < 1000", "value": 1061.73, "verdict": "fail"},
            {"expression": "shop-decrypt: cold_start_rate < 1%", "value": None, "verdict": "no data"},
            {"expression": "cost: run_usd < 5", "value": 0.26, "verdict": "no data", "lower_bound": True},
        ]
    }
    (tmp_path / "report.html").write_text(report.render(summary), encoding="utf-8")
    page.open((tmp_path / "report.html").as_uri())
    page.show(390, "light")
    page.wait_for("innerWidth === 390 && !!document.querySelector('.scroll')")
    boxes = "[...document.querySelectorAll('.scroll')].map((one) => [one.scrollWidth, one.clientWidth])"
    for needed, there in page.evaluate(boxes):
        assert needed <= there
    page.evaluate("history.back()")
    page.wait_for(DRAWN)


def test_it_asked_nobody_and_said_nothing(page: Page) -> None:
    """After all of the above."""
    assert page.complaints() == []
    assert [url for url in page.requested() if not re.match("(file|data|blob):", url)] == []
