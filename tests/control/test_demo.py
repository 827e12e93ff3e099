"""How the demo judges itself: by completeness and by the truth, not by its thresholds."""

import copy
import io

import pytest
from rich.console import Console

from analysis import errors
from control.demo import conclude
from runstore.rundir import RunDir

TRUTH = {"api": {"requests": 3, "by_status": {"200": 3}}, "functions": {}, "chains": {}}
SUMMARY = {
    "run": {"id": "demo"},
    "client": {
        "requests": 3,
        "failures": 0,
        "endpoints": {"POST /vote": {"requests": 3, "failures": 0, "status": {"200": 3}}},
    },
    "functions": {},
    "chains": {},
}


@pytest.fixture
def run(tmp_path):
    made = RunDir(tmp_path)
    made.write_json("truth.json", TRUTH)
    made.write_json("summary.json", SUMMARY)
    return made


def concluded(run, exit_code):
    out = Console(file=io.StringIO(), width=200)
    return conclude(run, exit_code, out), out.file.getvalue()


def test_a_broken_threshold_is_no_failure_of_the_demo(run):
    assert concluded(run, errors.THRESHOLD_FAILED)[0] == errors.OK


def test_an_incomplete_run_is(run):
    assert concluded(run, errors.INCOMPLETE)[0] == errors.INCOMPLETE


def test_equal_counts_are_counted(run):
    assert "2 of 2 counts equal" in concluded(run, errors.OK)[1]


def test_a_count_that_differs_is_named_and_fails(run):
    wrong = copy.deepcopy(SUMMARY)
    wrong["client"]["endpoints"]["POST /vote"]["status"]["200"] = 4
    run.write_json("summary.json", wrong)
    exit_code, text = concluded(run, errors.OK)
    assert exit_code == errors.INCOMPLETE
    assert "api.by_status.200: summary 4, truth 3" in text


THROTTLED = {"resource": "stream votes", "requests": 3}


@pytest.mark.parametrize(
    ("causes", "waited_ms", "said"),
    [
        ([THROTTLED], 390.0, ""),
        ([], 5.0, "stream votes refused no record\n"),
        ([{"resource": None, "requests": 1}], 390.0, "of 430 ms that POST /vote took on the average, 390 ms went"),
    ],
)
def test_a_machine_too_slow_for_the_bottleneck_is_said(run, causes, waited_ms, said):
    parts = {"client_network_ms": {"mean": waited_ms}, "gateway_ms": {"mean": None}, "handler_ms": {"mean": 40.0}}
    run.write_json("summary.json", SUMMARY | {"root_causes": causes, "breakdown": {"POST /vote": parts}})
    exit_code, text = concluded(run, errors.THRESHOLD_FAILED)
    assert exit_code == errors.OK
    assert said in text
    assert ("the load stayed below the limit" in text) == bool(said)


def test_a_missing_truth_is_said(run):
    run.file("truth.json").unlink()
    exit_code, text = concluded(run, errors.OK)
    assert exit_code == errors.INCOMPLETE
    assert "truth.json" in text
