"""What the documentation names exists, and what exists is documented. Part of `make check`."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from analysis.__main__ import main as analysis
from config.profile_files import profile_from, profile_names
from config.settings import FUNCTION_VARIABLES, Settings
from control.__main__ import main as control

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
DOCS = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
EXAMPLE = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
ONLY_MAKE = {"ACTION", "ROLE", "RUN", "PORT", "BENCH", "A", "B", "BY", "BASELINE"}
"""Variables of one target, which its line in README shows."""
OPTIONS_OF_LOCUST = set(re.findall(r'"--[a-z-]+",\s*"([A-Z_]+)"', (ROOT / "loadgen" / "options.py").read_text()))
"""Variables of the options that we give Locust."""


def commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command


def variables() -> set[str]:
    """Every variable that something reads."""
    fields = {str(field.alias) for field in Settings.model_fields.values() if field.alias}
    options = {
        str(option.envvar)
        for group in (control, analysis)
        for _, command in commands(group)
        for option in command.params
        if option.envvar
    }
    made = re.search(r"^VARIABLES := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert made is not None
    of_make = set(made[1].replace("\\\n", " ").split()) - ONLY_MAKE
    return fields | options | of_make | set(FUNCTION_VARIABLES.values())


@pytest.mark.parametrize("variable", sorted(variables()))
def test_every_variable_is_explained_in_the_example(variable):
    assert variable in EXAMPLE


@pytest.mark.parametrize("variable", sorted(EXAMPLE))
def test_every_variable_of_the_example_is_read_by_something(variable):
    assert variable in variables() | OPTIONS_OF_LOCUST | {"AWS_ENDPOINT_URL_LAMBDA"}


@pytest.mark.parametrize(
    "text", re.findall(r"```toml\n(.*?)```", README + DOCS[ROOT / "docs" / "profiles.md"], re.DOTALL)
)
def test_every_profile_that_is_shown_is_sound(text):
    shown = {"description": "shown", "flows": ["vote"]} | tomllib.loads(text)
    assert profile_from(shown, name="shown", source="the documentation")


@pytest.mark.parametrize("target", re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, re.MULTILINE))
def test_every_make_target_stands_in_the_readme(target):
    assert target == "help" or f"`make {target}`" in README


@pytest.mark.parametrize("name", re.findall(r"make ([a-z-]+)", "".join(re.findall(r"`[^`]*`|```.*?```", README, re.S))))
def test_every_make_target_of_the_readme_exists(name):
    assert re.search(rf"^{name}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_stands_in_the_readme(profile):
    assert f"| `{profile}` |" in README


@pytest.mark.parametrize(
    ("package", "name", "command"),
    [(p, n, c) for p, group in (("analysis", analysis), ("control", control)) for n, c in commands(group)],
)
def test_every_command_and_option_has_a_help_text(package, name, command):
    assert command.help, f"{package} {name}"
    bare = [option.name for option in command.params if isinstance(option, click.Option) and not option.help]
    assert bare == [], f"{package} {name}"


@pytest.mark.parametrize("command", [name for name, _ in commands(analysis)])
def test_every_analysis_command_is_documented(command):
    assert any(re.search(rf"(analysis|`){{1}} ?{command}\b|`make {command}`", text) for text in DOCS.values())


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", DOCS[path])):
        if not link.startswith("https://"):
            target = path.parent / link if link else path
            assert target.exists(), link
            assert not heading or heading in headings(target), f"{link}#{heading}"


def headings(path: Path) -> set[str]:
    """As a link names them: GitHub's form."""
    written = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).strip().replace(" ", "-") for one in written}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_that_are_named_exist(path):
    named = re.findall(
        r"`((?:config|control|analysis|loadgen|sandbox|stack|runstore|locustfiles)/[\w./-]+)`", DOCS[path]
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_make_help_names_every_benchmark_and_another_is_wrong_usage() -> None:
    benches = [path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()]
    named = re.search(r"BENCH=([\w|]+)\)", MAKEFILE)
    assert named is not None
    assert sorted(named[1].split("|")) == sorted({*benches} - {"__main__"})
    done = subprocess.run([sys.executable, "-m", "benchmarks", "nope"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"error: BENCH: there is no 'nope'; there are {named[1].replace('|', ', ')}\n"


@pytest.mark.parametrize("group", [analysis, control], ids=["analysis", "control"])
def test_every_help_fits_eighty_columns(group: click.Group) -> None:
    for name, command in commands(group):
        context = click.Context(command, info_name=name, terminal_width=80)
        wide = [line for line in command.get_help(context).splitlines() if len(line) > 80]
        assert wide == [], name
