import shutil

import pandas as pd
import pytest

from analysis.errors import DataFormatError, UsageError
from analysis.joined_table import JOINED_COLUMNS
from analysis.runs import load
from runstore.columns import REQUEST_COLUMNS
from runstore.rundir import RunNotFoundError


@pytest.fixture
def run(explained_tiny_run):
    return load(explained_tiny_run[0].path)


def test_requests_are_a_typed_frame(run):
    assert tuple(run.requests.columns) == REQUEST_COLUMNS
    assert len(run.requests) == 14
    assert run.requests.response_ms.dtype == "float64"
    assert run.requests.response_ms.isna().sum() == 2
    assert bool(run.requests.ok.iloc[0]) is True


def test_invocations_are_the_pulled_rows(run):
    assert len(run.invocations) == 18
    assert run.invocations.duration_ms.sum() == pytest.approx(3135 + 40 + 10 + 192 + 276 + 216)


def test_joined_has_each_request_once_with_its_invocation(run):
    joined = run.joined
    assert tuple(joined.columns) == (*REQUEST_COLUMNS, *JOINED_COLUMNS)
    assert len(joined) == 14
    by = joined.groupby("inv_function").size().to_dict()
    assert by == {"place-vote": 7, "get-results": 1, "shop-accept": 3}
    warm_up = joined[joined.phase == "warmup"].iloc[0]
    assert (warm_up.inv_init_ms, warm_up.inv_billed_ms, warm_up.gateway_response_latency_ms) == (250.0, 280, 405.0)
    assert pd.isna(joined[joined.status == 500].iloc[0].inv_duration_ms)


def test_columns_and_rows_of_joined_can_be_chosen(run):
    slow = run.read_joined(["name", "status"], where="inv_init_ms > 100 AND phase = 'warmup'")
    assert list(slow.columns) == ["name", "status"]
    assert len(slow) == 1
    assert len(run.read_joined(["status"])) == 14
    assert run.read_joined(["worker", "seq"]).equals(run.requests[["worker", "seq"]])


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"columns": ["latency"]}, "no column latency"),
        ({"columns": []}, "asks for none"),
        ({"where": "status >"}, "'status >'"),
        ({"where": "x = 1"}, "x"),
    ],
)
def test_what_cannot_be_read_of_joined_is_named(run, asked, named):
    with pytest.raises(UsageError, match=named):
        run.read_joined(**asked)


@pytest.mark.parametrize("where", [None, "status >= 500"])
def test_a_damaged_joined_table_is_named(explained_tiny_run, tmp_path, where):
    run = load(shutil.copytree(explained_tiny_run[0].path, tmp_path / "run"))
    joined = run.directory.file("joined.parquet")
    joined.write_bytes(joined.read_bytes()[:-100])
    with pytest.raises(DataFormatError, match=r"joined\.parquet"):
        run.read_joined(["status"], where)


def test_a_joined_table_of_an_earlier_version_is_read(explained_tiny_run, tmp_path):
    run = load(shutil.copytree(explained_tiny_run[0].path, tmp_path / "run"))
    file = run.directory.file("joined.parquet")
    newer = run.joined
    newer.drop(columns="init_ms").to_parquet(file)  # without the numbers of requests and invocations, too
    assert run.read_joined(["name"]).equals(newer[["name"]])
    assert run.read_joined().equals(newer)


def test_before_the_analysis_the_requests_can_be_read_already(tiny_run):
    run = load(tiny_run.path)
    assert len(run.requests) == 14
    with pytest.raises(UsageError, match=r"joined\.parquet"):
        _ = run.joined
    with pytest.raises(UsageError, match=r"summary\.json"):
        _ = run.summary


def test_no_such_run(tmp_path):
    with pytest.raises(RunNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_a_link_is_followed(tiny_run, tmp_path):
    (tmp_path / "latest").symlink_to(tiny_run.path.name)
    assert load(tmp_path / "latest").directory.run_id == tiny_run.run_id
