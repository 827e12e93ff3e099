"""What an attacker, or plain bad luck, writes into logs, payloads and names, and a summary that holds it everywhere."""

from __future__ import annotations

from typing import Any

TEXTS = {
    "script": "</script><script>alert(1)</script>",
    "image": "<img src=x onerror=alert(2)>'\"--><b>",
    "template": "${{ github.token }} {{ 7*7 }} {% raw %}",
    "table": "a | b || c \\| d",
    "code": "`` ` ``` ~~~ $x$ $$y$$",
    "lines": "one\n# two\r\n- three\n\n| four |\n|---|",
    "ansi": "\x1b[31mred\x1b]0;title\x07\x1b[2J \x9b1m",
    "control": "nul\x00 bell\x07 \x0b\x0c \x7f \x85",
    "surrogate": "half \ud83d a \udc00 pair \ufffe\uffff",
    "direction": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "invisible": "\u200b\u2060\ufeff\U000e0041",
    "markup": "[red]loud[/red] [link=http://evil.example]x[/link] :boom:",
    "link": "[x](http://evil.example) https://evil.example www.evil.example me@evil.example ![i](//evil.example/i.png)",
    "mention": "@octocat @org/team #12 GH-12 octo/repo#12 fixes owner/repo@a5c3785ed8d6a35868bc169f07e40e889087fd2e",
    "autolink": "<https://evil.example> <me@evil.example> &lt;b&gt; &#60;i&#62;",
    "long": "x" * 1_000_000,
    "wide": "漢字" * 400 + "🧨" * 200,
}


def summary_with(text: str) -> dict[str, Any]:
    """A summary in which every text and every name is `text`."""
    times = {"mean": 1.0, "p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0, "count": 1}
    cause = {
        "status": 502, "requests": 1, "share": 1.0, "flow": text, "function": text, "error_type": text,
        "operation": text, "resource": text, "frame": text, "message": text, "examples": [text, text], "advice": text,
        "first_at": text, "last_at": text,
    }  # fmt: skip
    return {
        "run": {
            "id": text, "profile": text, "flows": [text], "target": text, "region": text, "warnings": [text],
            "started_at": 1.0, "ended_at": 2.0, "complete": True,
            "workers": [{"index": 0, "host": text, "lost_at": 1.5, "rows": 3, "missing_rows": 1}],
            "aborted": {"threshold": text, "at": 1.5},
        },
        "client": {
            "requests": 1, "failures": 1,
            "endpoints": {text: {"requests": 1, "failures": 1, "status": {text: 1}, "p50_ms": 1.0}},
        },
        "functions": {text: {"invocations": 1, "errors": 1}, f"{text} idle": {}},
        "breakdown": {text: {"handler_ms": times, "gateway_ms": times}},
        "chains": {text: {"sent": 1, "lost": 1, "hops": [{"function": text, "reached": 1}, {"function": text}]}},
        "cold_start_shares": {text: {"by_concurrency": [{"at_least": 1, "invocations": 1, "cold_starts": 1}]}},
        "root_causes": [cause, {**cause, "error_type": "other", "frame": None}],
        "metrics": [{"name": text, "function": text, "value": 1, "target": text, "alert": text, "verdict": "alert"},
                    {"name": text, "verdict": "no data"}],
        "custom_metrics": [{"namespace": text, "name": text, "dimensions": {text: text}, "count": 1}],
        "clocks": [{"worker": text, "offset_ms": 1.0, "error_ms": 1.0}],
        "thresholds": [{"expression": text, "value": 1.0, "verdict": "fail"},
                       {"expression": f"{text}: p95_ms < 1", "value": None, "verdict": text}],
        "cost": {"run_usd": 1.0, "prices": text, "notes": [text],
                 "items": [{"service": text, "unit": text, "quantity": 1}]},
    }  # fmt: skip
