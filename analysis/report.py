"""`report.html`: one page that opens offline, with the verdict and the causes first and every figure behind them.

The page holds its own style, its own script and the chart library; its Content-Security-Policy lets it load nothing
else. Text from logs, payloads and names is escaped by the template, and once more where it stands in a script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis import figure, formatting, junit, markdown, tables
from analysis.errors import DataFormatError
from analysis.series import Floats, Series, build
from analysis.verdict import cause_title, judge
from runstore.rundir import RunDir

_BREAKDOWN_STATISTIC = ("mean", "p50")
"""What the bars of `breakdown_bars` show: the first of these that the summary has. Means add up, medians do not."""


def write_all(run: RunDir, summary: Mapping[str, Any]) -> list[Path]:
    """Write `report.html`, `summary.md` and `junit.xml` into the run's directory; the paths of what was written."""
    documents = {
        "report.html": render(summary, build(run, _user_history), run.read_manifest(), _read_pull(run)),
        "summary.md": markdown.render(summary),
        "junit.xml": junit.render(summary),
    }
    for name, text in documents.items():
        run.write_text(name, text)
    return [run.file(name) for name in documents]


def render(
    summary: Mapping[str, Any],
    series: Series | None = None,
    manifest: Mapping[str, Any] | None = None,
    pull: Mapping[str, Any] | None = None,
) -> str:
    """The page. Without a series it has no charts; what else is missing is left out."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        {
            name: getattr(formatting, name)
            for name in (
                "count",
                "date_and_time",
                "decimal",
                "milliseconds",
                "share",
                "time_of_day",
                "timespan",
                "visible",
            )
        }
    )
    run, client = summary.get("run") or {}, summary.get("client") or {}
    drawn = figure.draw(series) if series is not None else None
    return environment.get_template("report.html").render(
        run=run,
        client=client,
        failed_share=formatting.ratio(client.get("failures"), client.get("requests")),
        functions=summary.get("functions") or {},
        verdict=judge(summary),
        lasted=_lasted(run),
        causes=[{**cause, "title": cause_title(cause)} for cause in summary.get("root_causes") or []],
        breakdown=breakdown_bars(summary),
        parts=tables.PARTS,
        tables=[
            ("thresholds", tables.thresholds(summary)),
            ("endpoints", tables.endpoints(summary)),
            ("breakdown", tables.breakdown(summary)),
            ("functions", tables.functions(summary)),
            ("chains", tables.chains(summary)),
            ("metrics", tables.metrics(summary)),
            ("cost", tables.cost(summary)),
            ("join", tables.join(summary)),
            ("pull", tables.pull(pull or {})),
            ("manifest", tables.manifest(manifest or {})),
        ],
        figure=script_json(drawn) if drawn and drawn["traces"] else None,
        # the library's own text holds no "</script"; a test keeps watch over that
        plotly=Markup(get_plotlyjs()) if drawn and drawn["traces"] else None,
    )


def script_json(value: object) -> Markup:
    """`value` as JSON that can stand in a <script> element: no tag can begin or end in it, no line can end in it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def breakdown_bars(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One bar an endpoint: `{"endpoint", "statistic", "total_ms", "parts": [{"label", "ms", "percent"}]}`."""
    bars = []
    for endpoint, parts in (summary.get("breakdown") or {}).items():
        statistic = next(
            (name for name in _BREAKDOWN_STATISTIC if any((parts.get(key) or {}).get(name) for key, _ in tables.PARTS)),
            None,
        )
        if statistic is None:
            continue
        measured = [(label, (parts.get(key) or {}).get(statistic)) for key, label in tables.PARTS]
        total = sum(max(ms or 0, 0) for _, ms in measured)
        bars.append(
            {
                "endpoint": endpoint,
                "statistic": statistic,
                "total_ms": total,
                "parts": [
                    {"label": label, "ms": ms, "percent": round(100 * max(ms or 0, 0) / total, 3) if total else 0}
                    for label, ms in measured
                ],
            }
        )
    return bars


def _lasted(run: Mapping[str, Any]) -> float | None:
    started_at, ended_at = run.get("started_at"), run.get("ended_at")
    return ended_at - started_at if started_at and ended_at else None


def _read_pull(run: RunDir) -> dict[str, Any]:
    file = run.file("pull.json")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise DataFormatError(f"{file} is not JSON: {error}", "pull the logs again with `make analyze`") from error


def _user_history(file: Path) -> tuple[Floats, Floats]:
    """Epoch seconds and users from Locust's `_stats_history.csv`."""
    columns = ["Timestamp", "User Count", "Name"]
    rows = pd.read_csv(file, usecols=columns, on_bad_lines="skip")
    rows = rows[rows["Name"] == "Aggregated"].apply(pd.to_numeric, errors="coerce").dropna(subset=columns[:2])
    return rows["Timestamp"].to_numpy(float), rows["User Count"].to_numpy(float)
