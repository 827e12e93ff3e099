import re
import subprocess

import pytest

from control.processes import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE)
PHONY = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_explained_in_the_help(target):
    assert re.search(rf"^  make {target} +\S", make(), re.MULTILINE)


def test_the_help_fits_a_hundred_columns():
    assert max(map(len, make().splitlines())) <= 100


def test_no_target_is_taken_for_a_file():
    assert set(TARGETS) == PHONY


def test_an_empty_variable_is_not_handed_on():
    seen = make("--eval", "show: ; @env", "show", "PROFILE=", "SCALE=2").splitlines()
    assert "SCALE=2" in seen
    assert not any(line.startswith("PROFILE=") for line in seen)


def test_a_python_that_is_too_old_is_told_so_before_anything_is_installed(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    arguments = [f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "smoke"]
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (tmp_path / "venv").exists()
