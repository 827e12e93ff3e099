"""Folders import what docs/architecture.md says they may, and nothing else of ours."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
FOLDERS = {folder for folder, _ in TABLE}
ALLOWED = {folder: FOLDERS & set(re.findall(r"`(\w+)`", cell)) for folder, cell in TABLE}
OF_LOCUST = {"locust", "gevent"}
"""Importing them patches the standard library."""


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """(file and line, top-level package), wherever in the file the import stands."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", name.partition(".")[0]) for name in names)


def test_the_table_has_every_folder_of_code():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["mypy"]["files"]) - {"benchmarks"} <= FOLDERS
    assert ALLOWED["loadgen"] == {"config", "runstore"}
    assert ALLOWED["sandbox"] == set()


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_folder_imports_what_it_may(folder):
    others = FOLDERS - ALLOWED[folder] - {folder}
    others |= OF_LOCUST if "Locust" not in dict(TABLE)[folder] else {"pandas"}
    assert [(place, package) for place, package in imported(folder) if package in others] == []
