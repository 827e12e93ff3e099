"""The figures of a summary, made once more from a run's raw files: by pandas, with none of the analysis' own code.

Of `requests-*.csv`, and of the log events as they were pulled. For runs without warm-up, 504s and SnapStart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from runstore.rundir import RunDir

Figure = tuple[str, Any, Any]
"""Name, what the summary says, what it should."""

_STATISTICS = {"mean": pd.Series.mean, "min": pd.Series.min, "max": pd.Series.max}


def figures(run: RunDir) -> Iterator[Figure]:
    summary = json.loads(run.file("summary.json").read_text())
    requests = _requests(run)
    reports, lines = _reports(run), _correlation_lines(run)
    yield from _client(summary["client"], requests)
    for name, block in summary["functions"].items():
        yield from _function(name, block, reports[reports["function"] == name])
    sent = _joined(requests[requests["error"] != "dropped"], _access_log(run), reports)
    yield "join.matched", summary["join"]["matched"], int(sent["duration"].notna().sum())
    for endpoint, parts in summary["breakdown"].items():
        yield from _breakdown(endpoint, parts, sent[sent["endpoint"] == endpoint])
    yield from _chain("shop", summary["chains"]["shop"], sent, reports, lines)


def _requests(run: RunDir) -> pd.DataFrame:
    rows = pd.concat([pd.read_csv(file) for file in run.requests_files()])
    named = zip(rows["method"].fillna(""), rows["name"].fillna(""), strict=True)  # a dropped arrival has neither
    return rows.assign(
        endpoint=[name if name.startswith(f"{method} ") else f"{method} {name}" for method, name in named]
    )


def _events(run: RunDir, kind: str) -> pd.DataFrame:
    files = run.file("pull").glob(f"{kind}-*.parquet")
    return pd.concat([pd.read_parquet(file) for file in files]).drop_duplicates(["log_group", "ptr"])


def _reports(run: RunDir) -> pd.DataFrame:
    events = _events(run, "events")
    events = events[events["message"].str.startswith("REPORT ")]
    text = events["message"]

    def number(pattern: str) -> pd.Series:
        return text.str.extract(pattern)[0].astype(float)

    at = pd.to_datetime(events["timestamp"]) - pd.Timestamp(0)
    return pd.DataFrame(
        {
            "function": events["function"].astype(str),
            "id": text.str.extract(r"RequestId: (\S+)")[0],
            "at": at / pd.Timedelta(seconds=1),
            "duration": number(r"\tDuration: ([\d.]+) ms"),
            "billed": number(r"Billed Duration: (\d+) ms"),
            "memory": number(r"Memory Size: (\d+) MB"),
            "used": number(r"Max Memory Used: (\d+) MB"),
            "init": number(r"Init Duration: ([\d.]+) ms"),
        }
    )


def _correlation_lines(run: RunDir) -> pd.DataFrame:
    events = _events(run, "events")
    events = events[events["message"].str.contains('"swarmscope": ?1')]
    told = [json.loads(message[message.index("{") :]) for message in events["message"]]
    return pd.DataFrame(told).assign(function=events["function"].astype(str).to_numpy())


def _access_log(run: RunDir) -> pd.DataFrame:
    rows = pd.DataFrame([json.loads(message) for message in _events(run, "access")["message"]])
    latencies = {name: pd.to_numeric(rows[name], errors="coerce") for name in ("integrationLatency", "responseLatency")}
    invoked = rows["integrationRequestId"].where(rows["integrationRequestId"] != "-")
    return rows.assign(**latencies, invoked=invoked)[["requestId", "invoked", *latencies]]


def _joined(sent: pd.DataFrame, access: pd.DataFrame, reports: pd.DataFrame) -> pd.DataFrame:
    """Requests with the latencies of the access log and their own REPORT; of one id's attempts the last."""
    joined = sent.merge(access, left_on="request_id", right_on="requestId", how="left")
    known = joined["lambda_request_id"].where(joined["method"] != "Invoke", joined["request_id"])
    last = reports.sort_values("at").drop_duplicates("id", keep="last")[["id", "duration", "init"]]
    return joined.assign(id=known.fillna(joined["invoked"])).merge(last, on="id", how="left")


def _client(block: Mapping[str, Any], requests: pd.DataFrame) -> Iterator[Figure]:
    sent = requests[requests["error"] != "dropped"]
    ends = sent["started_at"] + sent["response_ms"].fillna(0) / 1000
    yield "requests", block["requests"], len(sent)
    yield "failures", block["failures"], int((sent["ok"] == 0).sum())
    yield "dropped", block["dropped"], len(requests) - len(sent)
    yield "rps", block["rps"], len(sent) / (ends.max() - sent["started_at"].min())
    for endpoint, told in block["endpoints"].items():
        of_it = sent[sent["endpoint"] == endpoint]
        statuses = {str(int(status)): count for status, count in of_it["status"].value_counts().items()}
        yield f"{endpoint}.requests", told["requests"], len(of_it)
        yield f"{endpoint}.failures", told["failures"], int((of_it["ok"] == 0).sum())
        yield f"{endpoint}.status", {k: v for k, v in told["status"].items() if k != "none"}, statuses
        yield from _statistics(endpoint, {k.removesuffix("_ms"): v for k, v in told.items()}, of_it["response_ms"])


def _function(name: str, block: Mapping[str, Any], reports: pd.DataFrame) -> Iterator[Figure]:
    limits = block["limits"]
    yield f"{name}.invocations", block["invocations"], len(reports)
    yield f"{name}.cold_starts", block["cold_starts"], int(reports["init"].notna().sum())
    for key, column in (
        ("duration_ms", "duration"),
        ("billed_ms", "billed"),
        ("init_ms", "init"),
        ("memory_mb", "used"),
    ):
        yield from _statistics(f"{name}.{key}", block[key], reports[column])
    for key, column in (("duration_ms", "duration"), ("billed_ms", "billed")):
        yield f"{name}.{key}.sum", block[key]["sum"], reports[column].sum() if len(reports) else None
    slow = int((reports["duration"] >= limits["duration_ms"]).sum())
    tight = int((reports["memory"] - reports["used"] < limits["memory_headroom_mb"]).sum())
    yield f"{name}.over_limit_duration", block["over_limit_duration"], slow
    yield f"{name}.under_limit_memory", block["under_limit_memory"], tight


def _breakdown(endpoint: str, parts: Mapping[str, Any], joined: pd.DataFrame) -> Iterator[Figure]:
    joined = joined[joined["response_ms"].notna() & joined["duration"].notna()]
    init = joined["init"].fillna(0).where(joined["duration"].notna())
    network = joined["response_ms"] - joined["responseLatency"]
    if (joined["method"] == "Invoke").all():
        network = joined["response_ms"] - init - joined["duration"]
    own = {
        "client_network_ms": network,
        "gateway_ms": joined["responseLatency"] - joined["integrationLatency"],
        "service_ms": joined["integrationLatency"] - init - joined["duration"],
        "init_ms": init,
        "handler_ms": joined["duration"],
    }
    for part, values in own.items():
        yield f"{endpoint}.{part}.count", parts[part]["count"], int(values.notna().sum())
        yield from _statistics(f"{endpoint}.{part}", parts[part], values)


def _chain(
    name: str, block: Mapping[str, Any], sent: pd.DataFrame, reports: pd.DataFrame, lines: pd.DataFrame
) -> Iterator[Figure]:
    """From the start of the request to the first end of its last hop; failed last hops there are none of."""
    last = lines[lines["function"] == "shop-update-db"].merge(reports, left_on="request_id", right_on="id")
    ended = last.groupby("correlation_id")["at"].min()
    messages = sent[sent["flow"] == name].set_index("correlation_id")
    took_ms = ((ended - messages["started_at"]) * 1000).dropna()
    yield f"{name}.completed", block["completed"], len(took_ms)
    yield from _statistics(f"{name}.end_to_end_ms", block["end_to_end_ms"], took_ms)


def _statistics(name: str, told: Mapping[str, Any], values: pd.Series) -> Iterator[Figure]:
    """Of the keys that are statistics; percentiles interpolate linearly, which is what pandas does."""
    known = values.dropna()
    for key, value in told.items():
        if key in _STATISTICS:
            own = _STATISTICS[key](known)
        elif key.startswith("p") and key[1:].replace(".", "").isdigit():
            own = known.quantile(float(key[1:]) / 100)
        else:
            continue
        yield f"{name}.{key}", value, float(own) if len(known) else None


def differing(found: Sequence[Figure], tolerance: float = 1e-3) -> list[Figure]:
    """Those that are not equal, to the three decimals that a summary has."""
    return [
        (name, told, own)
        for name, told, own in found
        if not (
            told == own
            or (isinstance(told, int | float) and isinstance(own, int | float) and abs(told - own) <= tolerance)
        )
    ]
