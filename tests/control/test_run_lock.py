import os
import subprocess
import sys

import pytest

from config.errors import ConfigError
from control.run_lock import run_lock


def test_a_second_run_is_refused_and_told_which_one_is_going(tmp_path):
    with (
        run_lock(tmp_path, "20261121T100000Z-demo"),
        pytest.raises(ConfigError, match=rf"run 20261121T100000Z-demo \(process {os.getpid()}\)"),
        run_lock(tmp_path, "second"),
    ):
        pass


def test_the_next_run_may_start_when_the_first_is_over(tmp_path):
    with run_lock(tmp_path, "first"):
        pass
    with run_lock(tmp_path, "second"):
        pass


def test_a_run_that_failed_leaves_no_lock(tmp_path):
    with pytest.raises(RuntimeError), run_lock(tmp_path, "first"):
        raise RuntimeError
    with run_lock(tmp_path, "second"):
        pass


def test_a_run_that_was_killed_leaves_no_lock(tmp_path):
    script = (
        "import os, pathlib; from control.run_lock import run_lock\n"
        f"with run_lock(pathlib.Path({str(tmp_path)!r}), 'first'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    with run_lock(tmp_path, "second"):
        pass


def test_runs_in_other_directories_do_not_meet(tmp_path):
    with run_lock(tmp_path / "a", "first"), run_lock(tmp_path / "b", "second"):
        pass


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match=r"RUNS_DIR: cannot write to .*: Not a directory"),
        run_lock(tmp_path / "file" / "runs", "first"),
    ):
        pass
