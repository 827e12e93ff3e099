"""`python -m analysis compare` and `baseline` on runs whose difference is known."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from analysis.__main__ import main
from analysis.baseline import measure, to_json
from analysis.pipeline import explain
from runstore.rundir import RunDir
from tests.analysis.conftest import T0, RunBuilder

REQUESTS, ENVIRONMENTS = 600, 12
MARKUP = "[bold]<b>@octocat"


def fill(build: RunBuilder, *versions: tuple[str, float], region: str = "us-east-1") -> None:
    """REQUESTS direct invokes of each version, in turns; those of a version take its time, give or take a tenth."""
    random = Random(1)
    for number in range(REQUESTS):
        for version, typical_ms in versions:
            at = number / 60
            took_ms = typical_ms * random.uniform(0.9, 1.1)
            identity = f"{version}-{number}"
            build.request(
                at,
                took_ms + 10,
                method="Invoke",
                name=f"Invoke place-vote:{MARKUP if version == '1' else 'green'}",
                flow="direct",
                request_id=identity,
                executed_version=version,
            )
            environment = number % ENVIRONMENTS
            build.invocation(
                at + took_ms / 1000,
                round(took_ms),
                request_id=identity,
                version=version,
                log_stream=f"[{version}]{environment}",
                init_ms=100.0 if number < ENVIRONMENTS else None,
            )
    build.manifest |= {"region": region, "flows": ["direct"], "api_base_url": "https://secret.example/prod"}
    build.manifest["profile"] |= {"stages": [{"duration_s": 10.0, "users": 1}]}
    build.directory.mkdir()
    explain(build.write())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`fast`, `again` and `slow` of version 1, `both` of versions 1 and 2 in turns, `part`, which is not whole."""
    directory = tmp_path_factory.mktemp("runs")
    for name, versions in {
        "fast": [("1", 40.0)],
        "slow": [("1", 50.0)],
        "both": [("1", 40.0), ("2", 50.0)],
    }.items():
        fill(RunBuilder(directory / name), *versions)
    for name, region, complete in (("again", "us-east-1", True), ("abroad", "eu-west-1", True), ("part", None, False)):
        shutil.copytree(directory / "fast", directory / name)
        for file in ("manifest.json", "summary.json"):
            read = json.loads((directory / name / file).read_text())
            about = read.get("run", read)
            about |= {"region": region or about["region"], "complete": complete}
            (directory / name / file).write_text(json.dumps(read))
    return directory


def call(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"RUNS_DIR": str(runs)})


def verdicts(result: Result) -> dict[str, str]:
    return {one["metric"]: one["verdict"] for one in json.loads(result.stdout)["metrics"]}


def test_a_slower_run_is_worse_and_ends_with_1(runs):
    result = call(runs, "compare", "fast", "slow", "--format", "json")
    assert result.exit_code == 1, result.output
    found = verdicts(result)
    assert (found["p50_ms"], found["p95_ms"], found["error_rate"]) == ("worse", "worse", "inconclusive")
    (p50,) = [one for one in json.loads(result.stdout)["metrics"] if one["metric"] == "p50_ms"]
    assert p50["low"] < 0.2 < p50["high"], "50 ms became 60"


def test_a_faster_run_is_better(runs):
    result = call(runs, "compare", "slow", "fast", "--format", "json")
    assert (result.exit_code, verdicts(result)["p95_ms"]) == (0, "better")


def test_the_same_run_again_has_no_difference(runs):
    found = verdicts(call(runs, "compare", "fast", "again", "--format", "json"))
    assert (found["p50_ms"], found["p95_ms"], found["cost_per_million_usd"]) == ("no difference",) * 3


def test_figures_are_those_of_the_summary(runs):
    result = call(runs, "compare", "fast", "slow", "--format", "json")
    found = {one["metric"]: one["a"] for one in json.loads(result.stdout)["metrics"]}
    summary = json.loads((runs / "fast" / "summary.json").read_text())
    assert {name: found[name] for name in ("p50_ms", "p95_ms", "p99_ms", "error_rate")} == {
        name: pytest.approx(summary["client"][name], rel=1e-4) for name in ("p50_ms", "p95_ms", "p99_ms", "error_rate")
    }
    assert found["cold_start_rate"] == summary["functions"]["place-vote"]["cold_start_rate"]
    assert found["cost_per_million_usd"] == pytest.approx(summary["cost"]["per_million_usd"])


@pytest.mark.parametrize("by", ["version", "endpoint"])
def test_two_parts_of_one_run(runs, by):
    result = call(runs, "compare", "both", "--by", by, "--format", "json")
    assert result.exit_code == 1, result.output
    sides = json.loads(result.stdout)
    assert (sides["a"]["resampled"]["requests"], sides["a"]["resampled"]["environments"]) == (REQUESTS, ENVIRONMENTS)
    found = verdicts(result)
    assert (found["p95_ms"], found["cost_per_million_usd"]) == ("worse", "worse")
    assert found["cold_start_rate"] == "inconclusive"


def test_which_parts_are_meant(runs):
    turned = call(runs, "compare", "both", "--by", "version", "--of", "2", "1", "--format", "json")
    assert verdicts(turned)["p95_ms"] == "better"
    assert call(runs, "compare", "both", "--by", "version", "--of", "1", "3").exit_code == 2
    alone = call(runs, "compare", "fast", "--by", "version")
    assert (alone.exit_code, "fast has one value of version, and two are compared: 1" in alone.stderr) == (2, True)


def test_one_endpoint_of_two_runs(runs, tmp_path):
    green = ("--endpoint", "Invoke place-vote:green")
    found = json.loads(call(runs, "compare", "both", "both", *green, "--format", "json").stdout)
    assert (found["a"]["resampled"]["requests"], found["verdict"]) == (REQUESTS, "inconclusive")
    assert found["metrics"][0]["a"] > 55
    assert call(runs, "compare", "fast", "both", *green).exit_code == 2, "fast has no such endpoint"
    file = tmp_path / "baseline.json"
    assert call(runs, "baseline", "both", *green, "--output", str(file)).exit_code == 0
    assert call(runs, "compare", "--baseline", str(file), "both", *green).exit_code == 0
    refused = call(runs, "compare", "--baseline", str(file), "both")
    assert (refused.exit_code, "endpoint: Invoke place-vote:green in A, all in B" in refused.stderr) == (2, True)


def test_what_does_not_matter_is_a_matter_of_choice(runs):
    result = call(runs, "compare", "fast", "slow", "--within", "30", "--format", "json")
    assert (result.exit_code, verdicts(result)["p50_ms"]) == (0, "no difference")
    (usual, sure) = (
        json.loads(call(runs, "compare", "fast", "slow", "--confidence", of, "--format", "json").stdout)["metrics"][0]
        for of in ("95", "99")
    )
    assert sure["low"] < usual["low"] < usual["high"] < sure["high"]


def test_a_stored_baseline_judges_as_its_run_does(runs, tmp_path):
    file = tmp_path / "baseline.json"
    assert call(runs, "baseline", "fast", "--output", str(file)).exit_code == 0
    stored = call(runs, "compare", "--baseline", str(file), "slow", "--format", "json")
    assert stored.exit_code == 1
    assert stored.stdout == call(runs, "compare", "fast", "slow", "--format", "json").stdout
    assert file.stat().st_size < 5_000
    facts = json.loads(file.read_text())["facts"]
    assert (facts["profile"], facts["region"], facts["memory_mb of place-vote"]) == ("test", "us-east-1", [256])
    assert "secret.example" not in file.read_text()


def test_a_file_that_is_no_baseline_is_refused(runs, tmp_path):
    file = tmp_path / "baseline.json"
    sound = to_json(measure(RunDir(runs / "fast")))
    damaged = [re.sub(r'"freedom": [\d.]+', f'"freedom": {freedom}', sound) for freedom in ("NaN", "0.0", "-3.0")]
    for text in ("{", "[]", '{"schema": 2}', re.sub(r'"error": [\d.e-]+', '"error": Infinity', sound), *damaged):
        file.write_text(text)
        result = call(runs, "compare", "--baseline", str(file), "slow")
        assert (result.exit_code, "is no baseline" in result.stderr) == (2, True), result.output
    assert call(runs, "compare", "--baseline", str(tmp_path / "none"), "slow").exit_code == 2


def test_runs_of_different_things_are_refused_or_labelled(runs):
    refused = call(runs, "compare", "fast", "abroad")
    assert refused.exit_code == 2
    assert "region: us-east-1 in A, eu-west-1 in B" in refused.stderr
    labelled = call(runs, "compare", "fast", "abroad", "--allow-differences")
    assert labelled.exit_code == 0
    assert "region: us-east-1 in A, eu-west-1 in B" in labelled.stdout


def test_a_run_whose_metrics_had_not_all_arrived_has_no_cost_to_compare(runs, tmp_path):
    late = shutil.copytree(runs / "fast", tmp_path / "late")
    summary = json.loads((late / "summary.json").read_text())
    summary["cost"]["items"] += [
        {"item": "sns_publishes", "service": "SNS", "quantity": None, "usd": None},
        {"item": "metrics_read", "service": "CloudWatch GetMetricData", "quantity": None, "usd": None},
    ]
    (late / "summary.json").write_text(json.dumps(summary))
    file = tmp_path / "baseline.json"
    assert call(runs, "baseline", "fast", "--output", str(file)).exit_code == 0
    for arguments in (("fast",), ("--baseline", str(file))):
        result = call(runs, "compare", *arguments, str(late))
        assert result.exit_code == 3, result.output
        assert "cost per million: B: its cost lacks SNS\n" in result.stdout
    assert call(runs, "compare", str(late), "fast").exit_code == 0


def test_a_pace_that_only_one_profile_sets_is_a_difference(runs, tmp_path):
    for name, pacing_s in (("paced", 0.5), ("unpaced", None)):
        run = shutil.copytree(runs / "fast", tmp_path / name)
        manifest = json.loads((run / "manifest.json").read_text())
        manifest["profile"]["pacing_s"] = pacing_s
        (run / "manifest.json").write_text(json.dumps(manifest))
    paced, unpaced, file = str(tmp_path / "paced"), str(tmp_path / "unpaced"), str(tmp_path / "baseline.json")
    refused = call(runs, "compare", paced, unpaced)
    assert (refused.exit_code, "profile.pacing_s: 0.5 in A, not set in B" in refused.stderr) == (2, True)
    assert "profile.pacing_s: not set in A, 0.5 in B" in call(runs, "compare", unpaced, paced).stderr
    assert call(runs, "baseline", unpaced, "--output", file).exit_code == 0
    assert call(runs, "compare", "--baseline", file, paced).exit_code == 2
    assert call(runs, "compare", "fast", paced).exit_code == 0, "a run of a version that knew no pace"


def test_half_a_run_ends_with_3_and_is_no_baseline(runs):
    assert call(runs, "compare", "fast", "part").exit_code == 3
    assert call(runs, "baseline", "part").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fast",), "two runs are needed"),
        (("fast", "slow", "--by", "version"), "--by compares two parts of one run"),
        (("fast", "slow", "--of", "1", "2"), "it needs --by"),
        (("fast", "gone"), "no run 'gone'"),
    ],
)
def test_wrong_usage_ends_with_2(runs, arguments, message):
    result = call(runs, "compare", *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.output


def test_a_run_that_was_not_analysed_is_refused(runs, build):
    build.request()
    build.write()
    result = call(runs, "compare", "fast", str(build.directory))
    assert (result.exit_code, "has not been analysed" in result.stderr) == (2, True)


def test_the_terminal_has_100_columns(runs):
    lines = call(runs, "compare", "fast", "slow").stdout.splitlines()
    assert lines[0].startswith("Worse: p50 by +2")
    assert "A: fast, 600 requests, 12 environments, SIMULATED, not AWS" in lines
    assert max(map(len, lines)) <= 100
    (p99,) = [line for line in lines if line.startswith("p99 ")]
    assert p99.split()[-2:] == ["inconclusive", "1,000"]


def test_names_stay_text_in_markdown(runs):
    text = call(runs, "compare", "both", "--by", "endpoint", "--format", "markdown").stdout
    assert text.startswith("## ❌ Worse: p50 by +2")
    assert "| p95 |" in text
    assert "<b>" not in text and "@octocat" not in text


def test_arrivals_that_found_no_slot_are_a_figure_of_the_open_model(build):
    build.manifest["profile"] |= {"model": "open"}
    for number in range(400):
        if number % 4 == 0:
            build.request(None, None, scheduled_at=T0 + number / 40, ok=0, error="dropped", status=None)
        else:
            build.request(number / 40, 20.0, scheduled_at=T0 + number / 40)
    build.directory.mkdir()
    run = build.write()
    explain(run)
    dropped = measure(run).metrics["dropped_rate"]
    assert dropped.value == 0.25
    assert dropped.error is not None and 0.01 < dropped.error < 0.05
    assert "dropped_rate" not in measure(run, ("endpoint", "POST /vote")).metrics
