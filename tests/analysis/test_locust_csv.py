import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import locust_csv
from analysis.locust_csv import DataIncompleteWarning, LocustCsvError

FIXTURES = Path(__file__).parents[1] / "fixtures/locust-csv"
STATS = (FIXTURES / "results_stats.csv").read_bytes().replace(b"\r\r\n", b"\r\n")


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "x_stats.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_stats_of_a_windows_locust_have_no_empty_rows() -> None:
    stats = locust_csv.read_stats(FIXTURES / "results_stats.csv")
    assert list(stats["Name"]) == ["/urls/shorten", "/{code}", "Aggregated"]
    assert list(stats["Request Count"]) == [857, 3950, 4807]
    assert list(stats["Aggregated"]) == [False, False, True]
    assert stats["Type"].isna().tolist() == [False, False, True]
    assert stats["99.9%"].tolist() == [2600, 2600, 2600]


def test_types_are_nullable_numbers_text_and_utc_times() -> None:
    stats = locust_csv.read_stats(FIXTURES / "results_stats.csv").dtypes.astype(str)
    assert stats["Request Count"] == "Int64" and stats["50%"] == "Float64" and stats["Name"] == "string"
    history = locust_csv.read_history(FIXTURES / "results_stats_history.csv")
    assert history["Timestamp"].iloc[0] == pd.Timestamp("2026-10-03T20:36:17Z")
    assert str(history["User Count"].dtype) == "Int64"


def test_history_has_na_where_there_was_nothing_to_measure() -> None:
    history = locust_csv.read_history(FIXTURES / "results_stats_history.csv")
    assert history["50%"].isna().tolist()[:3] == [True, True, False]
    assert history["Aggregated"].all()


def test_failures_have_first_and_last_seen() -> None:
    failures = locust_csv.read_failures(FIXTURES / "results_failures.csv")
    assert failures["Occurrences"].sum() == 852 + 5 + 5 + 3945
    assert failures["Last Seen"].max() == pd.Timestamp("2026-10-03T20:37:13Z")


def test_failures_of_an_older_locust_end_with_occurrences(tmp_path: Path) -> None:
    failures = locust_csv.read_failures(written(tmp_path, "Method,Name,Error,Occurrences\r\nGET,/,x,3\r\n"))
    assert failures["Occurrences"].tolist() == [3]


def test_exceptions_keep_tracebacks_of_several_lines(tmp_path: Path) -> None:
    content = 'Count,Message,Traceback,Nodes\r\n2,boom,"  File ""a.py""\n    x\n",local\r\n'
    exceptions = locust_csv.read_exceptions(written(tmp_path, content))
    assert exceptions["Traceback"].tolist() == ['  File "a.py"\n    x\n']
    assert exceptions["Count"].tolist() == [2]


def test_a_request_named_aggregated_is_not_the_sum(tmp_path: Path) -> None:
    content = STATS.replace(b"POST,/urls/shorten", b"POST,Aggregated")
    assert locust_csv.read_stats(written(tmp_path, content))["Aggregated"].tolist() == [False, False, True]


@pytest.mark.filterwarnings("ignore")
def test_a_cut_off_file_never_gives_a_value_the_whole_one_has_not(tmp_path: Path) -> None:
    whole = locust_csv.read_stats(written(tmp_path, STATS))
    for end in range(STATS.index(b"\r\n") + 2, len(STATS), 3):
        part = locust_csv.read_stats(written(tmp_path, STATS[:end]))
        kept = part.reset_index(drop=True)
        same = whole.iloc[: len(kept)]
        assert ((kept == same) | kept.isna()).all(axis=None)
        assert len(kept) >= STATS[:end].count(b"\r\n") - 1, "every whole line has its row"


def test_a_cut_off_file_warns(tmp_path: Path) -> None:
    with pytest.warns(DataIncompleteWarning, match="cut off"):
        locust_csv.read_stats(written(tmp_path, STATS[:-60]))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "it is empty"),
        ("Method,Name,Error,Occurrences\r\n", "no column Type, Request Count"),
        (STATS.replace(b",857,", b",many,", 1), "'Request Count' holds what is no number"),
        (STATS.replace(b",857,", b",857,7,", 1), "row 2 has 23 cells where the header has 22"),
    ],
)
def test_another_kind_of_file_is_an_error_that_names_it(tmp_path: Path, content: bytes | str, says: str) -> None:
    with pytest.raises(LocustCsvError, match=says) as error:
        locust_csv.read_stats(written(tmp_path, content))
    assert "x_stats.csv" in str(error.value)


@pytest.mark.filterwarnings("error")
def test_a_whole_file_gives_no_warning() -> None:
    locust_csv.read_stats(FIXTURES / "results_stats.csv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        locust_csv.read_history(tmp_path / "nowhere.csv")


def test_a_header_alone_is_an_empty_frame_with_types(tmp_path: Path) -> None:
    stats = locust_csv.read_stats(written(tmp_path, STATS[: STATS.index(b"\n") + 1]))
    assert len(stats) == 0 and str(stats["Request Count"].dtype) == "Int64"


WRITE_WITH_LOCUST = """
import csv, sys
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV
environment = Environment()
environment.create_local_runner()
environment.stats.log_request("POST", "/vote", 12.5, 40)
environment.stats.log_error("POST", "/vote", Exception("boom, with a comma"))
environment.runner.log_exception("local", "boom", "Traceback\\n  line")
writer = StatsCSV(environment, PERCENTILES_TO_REPORT)
for name in ("requests", "failures", "exceptions"):
    with open(f"{sys.argv[1]}/{name}.csv", "w") as file:
        getattr(writer, f"{name}_csv")(csv.writer(file))
"""


def test_files_of_the_installed_locust_are_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WRITE_WITH_LOCUST, str(tmp_path)], check=True, timeout=60)
    assert locust_csv.read_stats(tmp_path / "requests.csv")["Request Count"].tolist() == [1, 1]
    assert locust_csv.read_failures(tmp_path / "failures.csv")["Occurrences"].tolist() == [1]
    assert locust_csv.read_exceptions(tmp_path / "exceptions.csv")["Count"].tolist() == [1]
