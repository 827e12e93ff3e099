import json

import pytest

from runstore import rundir


def test_run_id_is_utc_time_and_profile():
    assert rundir.new_run_id("demo", 0.0) == "19700101T000000Z-demo"


def test_a_profile_path_makes_a_safe_run_id():
    assert rundir.new_run_id("../my profile", 0.0) == "19700101T000000Z-..-my-profile"


def test_two_runs_in_one_second_get_two_directories(tmp_path):
    first, second = rundir.create(tmp_path, "r"), rundir.create(tmp_path, "r")
    assert (first.run_id, second.run_id) == ("r", "r-2")


def test_latest_points_to_the_newest(tmp_path):
    rundir.create(tmp_path, "a")
    newest = rundir.create(tmp_path, "b")
    newest.update_manifest(run_id="b")
    assert rundir.find("latest", tmp_path).path == newest.path.resolve()


def test_a_run_id_cannot_leave_the_directory(tmp_path):
    with pytest.raises(ValueError, match="run id"):
        rundir.create(tmp_path, "../x")


def test_a_missing_run_names_those_there_are(tmp_path):
    rundir.create(tmp_path, "a")
    (tmp_path / rundir.TUNING).mkdir()
    with pytest.raises(rundir.RunNotFoundError, match=r"newest runs .*: a$"):
        rundir.find("b", tmp_path)


def test_no_runs_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(rundir.RunNotFoundError, match="make demo"):
        rundir.find("latest", tmp_path / "runs")


def test_a_directory_with_only_locusts_csvs_is_a_run(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "results_stats.csv").touch()
    assert rundir.find(str(tmp_path / "mine"), tmp_path).read_manifest() == {}


def test_the_manifest_is_merged_and_stays_whole(tmp_path):
    run = rundir.create(tmp_path, "a")
    run.update_manifest(state="running", seed=1)
    run.update_manifest(state="complete")
    assert json.loads(run.manifest_file.read_text()) == {"schema": 1, "state": "complete", "seed": 1}


@pytest.mark.parametrize("name", ["latest", "tune", "provisioned"])
def test_a_run_id_cannot_be_what_else_lies_among_the_runs(tmp_path, name):
    with pytest.raises(ValueError, match=f"run id '{name}' is the name of something else"):
        rundir.create(tmp_path, name)
    assert not list(tmp_path.iterdir())
