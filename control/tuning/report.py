"""The result of a tuning run as files: `tune.json`, `tune.md`, and `tune.html`, a page that opens offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs
from rich.console import Console
from rich.text import Text

from analysis import formatting, markdown
from analysis.report import environment, script_json
from analysis.terminal import print_table
from control.tuning.figures import Estimate
from control.tuning.result import Result, checks_table, headline, remarks, table
from runstore.rundir import RunDir

PAGE = "tune.html"
SIMULATED = "SIMULATED, not AWS"
_TEMPLATES = Path(__file__).parent / "templates"
_BLUE, _AMBER, _GREEN, _GREY = "#4c86e8", "#e59a2f", "#3da35d", "#8a919e"


def write(result: Result, directory: Path) -> None:
    """Write all three, each whole or not at all."""
    files = RunDir(directory)
    files.write_json("tune.json", result.document())
    files.write_text("tune.md", as_markdown(result))
    files.write_text(PAGE, as_html(result))


def print_result(result: Result, to: Console) -> None:
    """The result in a terminal of 100 columns."""
    to.print(Text(headline(result), style="bold green" if result.choice else "bold red"))
    to.print(Text(f"{formatting.visible(result.function)} on {result.target}" + _simulated(result)))
    to.print()
    print_table(table(result), to)
    to.print()
    for remark in remarks(result):
        to.print(Text(f"- {remark}"))
    if result.checks:
        to.print()
        print_table(checks_table(result), to)
        to.print(Text("Set for good: " + ("; ".join(result.kept) or "nothing, for a check failed")))


def as_markdown(result: Result) -> str:
    lines = [f"## {markdown.escape(headline(result))}", ""]
    lines += [markdown.escape(f"{formatting.visible(result.function)} on {result.target}{_simulated(result)}"), ""]
    lines += [markdown.render_table(table(result))]
    lines += [f"- {markdown.escape(remark)}" for remark in remarks(result)]
    if result.checks:
        lines += ["", markdown.render_table(checks_table(result))]
        lines += [markdown.escape("Set for good: " + ("; ".join(result.kept) or "nothing, for a check failed"))]
    return "\n".join(lines) + "\n"


def as_html(result: Result) -> str:
    return (
        environment(_TEMPLATES)
        .get_template(PAGE)
        .render(
            result=result,
            headline=headline(result),
            function=formatting.visible(result.function),
            remarks=list(remarks(result)),
            tables=[table(result)] + ([checks_table(result)] if result.checks else []),
            plotly=Markup(get_plotlyjs()),
            chart=script_json(chart(result)),
        )
    )


def chart(result: Result) -> dict[str, Any]:
    """Duration above, cost below, over memory, with their intervals; the chosen value is marked."""
    measured = [one for one in result.figures if one.duration_ms is not None and one.gb_s is not None]
    memory = [one.memory_mb for one in measured]
    duration = [one.duration_ms for one in measured if one.duration_ms]
    cost = [estimate for one in measured if (estimate := result.usd_per_million(one.gb_s))]
    traces = [_line("mean duration, ms", memory, duration, _BLUE, "y")]
    if cost:
        traces.append(_line("Lambda compute, USD per million", memory, cost, _AMBER, "y2"))
    axis = {"gridcolor": "rgba(138,145,158,.25)", "zeroline": False, "rangemode": "tozero"}
    layout: dict[str, Any] = {
        "height": 520,
        "margin": {"l": 60, "r": 20, "t": 30, "b": 50},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": _GREY},
        "legend": {"orientation": "h", "y": 1.08},
        "xaxis": {
            "type": "log",
            "tickvals": memory,
            "ticktext": [str(value) for value in memory],
            "title": {"text": "memory, MB"},
            "anchor": "y2",
            "gridcolor": "rgba(138,145,158,.25)",
        },
        "yaxis": axis | {"domain": [0.54, 1], "title": {"text": "ms"}},
        "yaxis2": axis | {"domain": [0, 0.46], "title": {"text": "USD per million"}},
        "shapes": [],
    }
    if result.choice is not None:
        x = result.choice.memory_mb
        line = {"color": _GREEN, "dash": "dot"}
        mark = {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": line}
        layout["shapes"].append(mark)
    return {"data": traces, "layout": layout}


def _line(name: str, memory: list[int], estimates: list[Estimate], colour: str, axis: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": memory,
        "y": [one.value for one in estimates],
        "yaxis": axis,
        "line": {"color": colour},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [0.0 if one.high is None else one.high - one.value for one in estimates],
            "arrayminus": [0.0 if one.low is None else one.value - one.low for one in estimates],
            "color": colour,
        },
    }


def _simulated(result: Result) -> str:
    return f" · {SIMULATED}" if result.simulated else ""
